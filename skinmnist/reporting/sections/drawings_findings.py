"""From findings to embedded drawings: forest plots, prices, curves, and the gallery of mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.curves import decision_curves, precision_recall_curves, reliability_bins, roc_curves
from skinmnist.experiment.run_folder.mistakes import read_mistakes
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.rows import read_lesions
from skinmnist.reporting.embed import Embedded, embed_figure, embed_strip
from skinmnist.reporting.format import count, fixed, listing, model_title, percent, sampler_title, signed
from skinmnist.reporting.sections import curves as figures_curves
from skinmnist.reporting.sections import scores as figures
from skinmnist.reporting.sections.certainty import cost_figure, forest_figure
from skinmnist.reporting.sections.conclusions import CLAIMED, comparisons_with
from skinmnist.reporting.sections.drawings import Captioned
from skinmnist.reporting.sections.views import label_in_text

#: Of more classes than these, the rarest are drawn.
_MOST_CLASSES = 12
#: The height of a picture in the gallery, in CSS pixels.
_MISTAKE = 84


@dataclass(frozen=True)
class Forest:
    """A forest plot of one metric."""

    label: str
    image: Embedded


@dataclass(frozen=True)
class Mistake:
    """A picture with what it is and what it was called."""

    image: Embedded
    true: str
    named: str
    confidence: str


def forest_rows(record: RunRecord, analysis: Analysis, metric: str) -> pd.DataFrame:
    """Join the tests of one metric with the intervals over lesions: the rows of `forest_figure`."""
    rows = comparisons_with(analysis.comparisons, metric=metric, control=True)
    over = analysis.difference_intervals
    over = over.loc[over["metric"] == metric, ["sampler", "model", "low", "high"]]
    over = over.rename(columns={"low": "lesion_low", "high": "lesion_high"})
    rows = rows.merge(over, on=["sampler", "model"], how="left")
    pairs = rows[["sampler", "model"]].itertuples(index=False)
    return rows.assign(
        sampler_title=[sampler_title(record.info, sampler, model) for sampler, model in pairs],
        model_title=[model_title(record.info, model) for model in rows["model"]],
    )


def draw_forests(record: RunRecord, analysis: Analysis) -> list[Forest]:
    """Draw a forest plot of every compared metric, macro-F1 first; nothing where nothing is compared."""
    samplers, models = record.info.grid.samplers, list(record.info.grid.models)
    units = "pictures" if read_lesions(record.folder, record.info.table.rows) is None else "lesions"
    drawn = []
    for metric in dict.fromkeys(analysis.comparisons["metric"]):
        rows = forest_rows(record, analysis, str(metric))
        if rows.empty:
            continue
        label = label_in_text(str(metric))
        told = [
            f"{row['sampler_title']} with {row['model_title']} {signed(row['difference'])}, {row['verdict']}"
            for row in rows.to_dict("records")
        ]
        alt = (
            f"Forest plot of differences in {label} to training without a sampler: {'; '.join(told)}. "
            "The intervals stand in the table of all comparisons."
        )
        wide, narrow = (forest_figure(rows, samplers, models, label, phone, units) for phone in (False, True))
        drawn.append(Forest(label, embed_figure(wide, alt, narrow)))
    return drawn


def draw_costs(record: RunRecord, board: pd.DataFrame, analysis: Analysis) -> Embedded | None:
    """Draw what macro-F1 costs in seconds; `board` is the leaderboard with the control."""
    rows = board[~board["reference"] & (board["seconds"] > 0)]
    if rows.empty:
        return None
    over = analysis.intervals[analysis.intervals["metric"] == CLAIMED]
    over = over.rename(columns={"low": "lesion_low", "high": "lesion_high"})
    rows = rows.merge(
        over[["sampler", "model", "lesion_low", "lesion_high"]], on=["sampler", "model"], how="left"
    )
    samplers, models = record.info.grid.samplers, list(record.info.grid.models)
    by_cost = rows.sort_values("seconds", kind="stable")
    cheap, dear = by_cost.iloc[0], by_cost.iloc[-1]
    alt = (
        f"Scatter plot of macro-F1 against seconds per fold, from {cheap['sampler_title']} with "
        f"{cheap['model_title']} ({fixed(cheap['seconds'], 1)} s, {fixed(cheap['macro_f1'])}) to "
        f"{dear['sampler_title']} with {dear['model_title']} ({fixed(dear['seconds'], 1)} s, "
        f"{fixed(dear['macro_f1'])}). The numbers stand in the leaderboard."
    )
    wide, narrow = (cost_figure(rows, samplers, models, phone) for phone in (False, True))
    return embed_figure(wide, alt, narrow)


def best_pairs(board: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the best trained pair of each model, in the order of the board."""
    return board[~board["reference"] & ~board["derived"]].drop_duplicates("model")


def draw_rankings(record: RunRecord, board: pd.DataFrame) -> list[Captioned]:
    """Draw ROC and precision-recall curves of each class, one line for the best pair of each model."""
    pairs = best_pairs(board)[["sampler", "model"]]
    rows = record.predictions.merge(pairs, on=["sampler", "model"])
    names = record.info.table.class_names
    counts = np.bincount(record.predictions.drop_duplicates("row")["label"].astype(int), minlength=len(names))
    titles = record.info.table.class_titles
    rarest = sorted(np.argsort(counts, kind="stable")[:_MOST_CLASSES])
    models = [name for name in record.info.grid.models if name in set(pairs["model"])]
    roc, precision = roc_curves(rows, names), precision_recall_curves(rows, names)
    drawn = []
    for code in rarest:
        name, share = names[code], counts[code] / max(counts.sum(), 1)
        of_class = roc[roc["class"] == name], precision[precision["class"] == name]
        if of_class[0].empty:
            continue
        areas = [
            f"{model_title(record.info, model)} "
            f"{fixed(float(np.trapezoid(line['true_positive_rate'], line['false_positive_rate'])), 2)}"
            for model, line in of_class[0].groupby("model", sort=False)
        ]
        both = (
            (figures_curves.roc_figure(of_class[0], _all(record)), "ROC curves"),
            (
                figures_curves.precision_recall_figure(of_class[1], _all(record), share),
                "Precision over recall",
            ),
        )
        images = tuple(
            embed_figure(
                figure,
                f"{what} of class {name}, one line for each of {count(len(models), 'model')}; "
                f"areas under the ROC curves: {listing(areas)}.",
            )
            for figure, what in both
        )
        title = titles.get(name, name)
        detail = f"{'' if title == name else title + ', '}{percent(share)} of the pictures"
        drawn.append(Captioned(name, images, detail))
    return drawn


def _all(record: RunRecord) -> list[str]:
    return list(record.info.grid.models)


def draw_decisions(record: RunRecord) -> list[Captioned]:
    """Draw the decision curves for melanoma, one figure for each model; nothing without melanomas."""
    names = record.info.table.class_names
    if facts.MELANOMA not in names or not record.results:
        return []
    curves = decision_curves(record.predictions, names, facts.MELANOMA)
    highest = max(float(curves[["net_benefit", "treat_all"]].max().max()), 0.001)
    limits = (-0.35 * highest, 1.08 * highest)
    samplers, models, drawn = record.info.grid.samplers, _all(record), []
    for model, rows in curves.groupby("model", sort=False):
        title = model_title(record.info, str(model))
        at = rows[np.isclose(rows["threshold"], 0.1)]
        told = [f"{row['sampler']} {fixed(row['net_benefit'])}" for row in at.to_dict("records")]
        alt = (
            f"Decision curves of {title} for melanoma. Net benefit at a threshold of 10 per cent: "
            f"{listing(told)}; treating all {fixed(float(at['treat_all'].iloc[0]))}."
        )
        colour = figures.model_colour(models, str(model))
        figure = figures_curves.decision_figure(rows, samplers, colour, limits)
        drawn.append(Captioned(title, (embed_figure(figure, alt),)))
    return drawn


def draw_reliability(record: RunRecord) -> list[Captioned]:
    """Draw confidence against accuracy, one figure for each model."""
    samplers, models = record.info.grid.samplers, _all(record)
    bins = reliability_bins(record.predictions, record.info.table.class_names)
    drawn = []
    for model in (name for name in models if name in set(bins["model"])):
        title, of_model = model_title(record.info, model), bins[bins["model"] == model]
        figure = figures_curves.reliability_figure(of_model, samplers, figures.model_colour(models, model))
        shown = listing([name for name in samplers if name in set(of_model["sampler"])])
        alt = (
            f"Reliability diagram of {title}, with one line for each sampler ({shown}), and below it how "
            "many pictures each bin holds; see the table below."
        )
        drawn.append(Captioned(title, (embed_figure(figure, alt),)))
    return drawn


def draw_mistakes(record: RunRecord) -> list[Mistake]:
    """Enlarge the pictures about which the best pair was most sure, and wrong."""
    names = record.info.table.class_names
    found, pictures = read_mistakes(record)
    drawn = []
    for row, picture in zip(found.to_dict("records"), pictures, strict=True):
        true, named = names[row["label"]], names[row["predicted"]]
        alt = f"A picture of class {true} that was named {named}"
        image = embed_strip(picture[None], alt, _MISTAKE)
        share = percent(row["confidence"]).replace(" ", "\u00a0")
        drawn.append(Mistake(image, true, named, share))
    return drawn
