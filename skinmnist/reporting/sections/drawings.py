"""From frames to embedded drawings: every figure of the page with the words that stand for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.embed import Embedded, embed_figure, embed_strip
from skinmnist.reporting.format import count, fixed, listing, model_title, percent, sampler_title
from skinmnist.reporting.sections import data as figures_data
from skinmnist.reporting.sections import scores as figures
from skinmnist.reporting.sections import tables

#: Pictures of one strip: as many as fit across a phone.
_STRIP = 6
#: Of more classes than these, one strip of each is enough.
_MANY_CLASSES = 12
#: Synthetic rows that are shown of one sampler.
_MOST_EXAMPLES = 12


@dataclass(frozen=True)
class Captioned:
    """A drawing, or several, under one caption."""

    caption: str
    images: tuple[Embedded, ...]
    detail: str = ""
    labels: tuple[str, ...] = ()


def draw_leaderboard(record: RunRecord, board: pd.DataFrame) -> Embedded | None:
    """Draw the leaderboard, or nothing where no cell is finished."""
    pairs = board[~board["reference"]]
    if pairs.empty:
        return None
    samplers, models = record.info.grid.samplers, list(record.info.grid.models)
    folds = tables.fold_scores(record, "macro_f1")
    best, worst = pairs.iloc[0], pairs.iloc[-1]
    alt = (
        f"Dot plot of macro-F1 for {count(len(pairs), 'pair')} of sampler and model, one small dot for each "
        f"fold, from {best['sampler_title']} with {best['model_title']} ({fixed(best['macro_f1'])}) down to "
        f"{worst['sampler_title']} with {worst['model_title']} ({fixed(worst['macro_f1'])}); a dashed line "
        "marks the answer that is always the same. The numbers stand in the table."
    )
    wide = figures.leaderboard_figure(board, folds, samplers, models)
    return embed_figure(wide, alt, figures.leaderboard_figure(board, folds, samplers, models, narrow=True))


def draw_classes(classes: pd.DataFrame) -> Embedded:
    """Draw the class counts."""
    ordered = classes.sort_values("rows", kind="stable")
    smallest, largest = ordered.iloc[0], ordered.iloc[-1]
    alt = (
        f"Bar chart of the pictures of {count(len(classes), 'class', 'classes')}: {largest['class']} has the "
        f"most, {largest['rows']:,} ({percent(largest['share'])}), {smallest['class']} the fewest, "
        f"{smallest['rows']:,} ({percent(smallest['share'])})."
    )
    wide = figures_data.class_counts_figure(classes)
    return embed_figure(wide, alt, figures_data.class_counts_figure(classes, narrow=True))


def draw_folds(n_folds: int) -> Embedded:
    """Draw the way of the folds."""
    alt = f"Diagram: {n_folds} trainings, each of which holds out another one of the {n_folds} folds."
    return embed_figure(figures_data.folds_figure(n_folds), alt)


def draw_pictures(record: RunRecord) -> list[tuple[Embedded, ...]]:
    """Set a few pictures of each class side by side, in code order."""
    drawn = []
    class_names = record.info.table.class_names
    for code, name in enumerate(class_names):
        pictures = record.pictures[record.picture_labels == code]
        if len(class_names) > _MANY_CLASSES:
            pictures = pictures[:_STRIP]
        parts = [pictures[start : start + _STRIP] for start in range(0, len(pictures), _STRIP)]
        words = ("pictures", "more pictures")
        drawn.append(
            tuple(
                embed_strip(part, f"{len(part)} {words[place > 0]} of class {name}")
                for place, part in enumerate(parts)
            )
        )
    return drawn


def draw_recalls(record: RunRecord, recalls: pd.DataFrame) -> list[Captioned]:
    """Draw the recall of every class, one figure for each model."""
    samplers, models = record.info.grid.samplers, list(record.info.grid.models)
    class_names = record.info.table.class_names
    drawn = []
    for model, of_model in recalls.groupby("model", sort=False):
        title = model_title(record.info, str(model))
        colour = figures.model_colour(models, str(model))
        figure = figures.recall_figure(of_model, class_names, samplers, colour)
        alt = f"Dot plot of the recall of each class with {title}, one mark for each sampler; numbers below."
        drawn.append(Captioned(title, (embed_figure(figure, alt),)))
    return drawn


def draw_confusions(record: RunRecord) -> list[Captioned]:
    """Draw the confusion matrix of every pair, in the order of the grid."""
    drawn = []
    for sampler, model in record.predictions[["sampler", "model"]].drop_duplicates().itertuples(index=False):
        counts = tables.confusion(record, sampler, model)
        matrix = counts.to_numpy(dtype=float)
        totals = matrix.sum(axis=1)
        right = [
            f"{name} {100 * hits / total:.0f} %"
            for name, hits, total in zip(counts.index, matrix.diagonal(), totals, strict=True)
            if total > 0
        ]
        titles = sampler_title(record.info, sampler, model), model_title(record.info, model)
        alt = f"Confusion matrix of {titles[0]} with {titles[1]}. Named rightly: {', '.join(right)}."
        image = embed_figure(figures.confusion_figure(counts), alt)
        drawn.append(Captioned(titles[0], (image,), titles[1]))
    return drawn


def draw_resampled(record: RunRecord) -> list[Captioned]:
    """Draw the class counts before and after every sampler; spaces with the same counts share a figure."""
    counts = tables.resampled_counts(record)
    if counts.empty:
        return []
    most = 1.04 * max(counts["before"].max(), counts["after"].max())
    together: dict[tuple[str, bytes], list[tuple[str, pd.DataFrame]]] = {}
    for (sampler, title), of_sampler in counts.groupby(["sampler", "title"], sort=False):
        figures_of = of_sampler[["before", "after"]].to_numpy().tobytes()
        together.setdefault((str(sampler), figures_of), []).append((str(title), of_sampler))
    drawn = []
    for alike in together.values():
        titles, of_sampler = listing([title for title, _ in alike]), alike[0][1]
        change = f"{of_sampler['before'].sum():,.0f} rows before, {of_sampler['after'].sum():,.0f} after"
        alt = (
            f"Bar chart of training rows by class before and after {titles}: {change}, all classes together."
        )
        image = embed_figure(figures_data.resampled_figure(of_sampler, most), alt)
        drawn.append(Captioned(titles, (image,), change))
    return drawn


def draw_examples(record: RunRecord) -> list[Captioned]:
    """Set rows that a sampler made between the two rows they lie between, for each sampler on pixels."""
    shape, names = tuple(record.info.table.shape), record.info.table.class_names
    drawn: dict[str, Captioned] = {}
    for result in record.results:
        title = sampler_title(record.info, result.cell.sampler, result.cell.model)
        if result.examples is None or title in drawn or not len(result.examples.labels):
            continue
        made = result.examples
        triples = np.stack([made.parents, made.children, made.neighbours], axis=1)
        images = [
            embed_strip(
                triple.reshape(3, *shape),
                f"A {names[label]} row, the row that {title} made, and its neighbour",
            )
            for triple, label in zip(triples[:_MOST_EXAMPLES], made.labels, strict=False)
        ]
        labels = tuple(names[label] for label in made.labels[:_MOST_EXAMPLES])
        drawn[title] = Captioned(title, tuple(images), labels=labels)
    return list(drawn.values())


def draw_curves(record: RunRecord) -> list[Captioned]:
    """Draw the training curves of every pair that has some."""
    curves = tables.curves(record).dropna(subset=["loss", "accuracy"])
    if curves.empty:
        return []
    groups = {
        (str(s), str(m)): of_pair for (s, m), of_pair in curves.groupby(["sampler", "model"], sort=False)
    }
    marks = {pair: _held_out(record, *pair) for pair in groups}
    highest = max(float(curves["loss"].quantile(0.995)), *(mark["loss"] for mark in marks.values()))
    lowest = min(float(curves["accuracy"].min()), *(mark["accuracy"] for mark in marks.values()))
    limits = {"loss": (0.0, 1.12 * highest), "accuracy": (max(0.0, lowest - 0.05), 1.0)}
    models = list(record.info.grid.models)
    drawn = []
    for (sampler, model), of_pair in groups.items():
        mark = marks[sampler, model]
        titles = sampler_title(record.info, sampler, model), model_title(record.info, model)
        last = of_pair.groupby(["repeat", "fold"])[["loss", "accuracy"]].last().mean()
        alt = (
            f"Training curves of {titles[0]} with {titles[1]}: at the end a training loss of "
            f"{fixed(last['loss'])} against {fixed(mark['loss'])} held-out, and a training accuracy of "
            f"{fixed(last['accuracy'])} against {fixed(mark['accuracy'])} held-out."
        )
        colour = figures.model_colour(models, model)
        image = embed_figure(figures_data.curves_figure(of_pair, mark, colour, limits), alt)
        drawn.append(Captioned(titles[0], (image,), titles[1]))
    return drawn


def _held_out(record: RunRecord, sampler: str, model: str) -> dict[str, float]:
    """Average what a pair reaches on held-out pictures, under the names of its training curves."""
    means = {}
    for name, metric in (("loss", "log_loss"), ("accuracy", "accuracy")):
        scores = tables.fold_scores(record, metric)
        of_pair = (scores["sampler"] == sampler) & (scores["model"] == model)
        means[name] = float(scores.loc[of_pair, "value"].mean())
    return means
