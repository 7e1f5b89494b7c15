"""Outcomes: recall by class, confusion, confident mistakes, doubted labels and patient subgroups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Affine2D, blended_transform_factory

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.significance import Pair
from skinmnist.analysis.subgroups import FEWEST
from skinmnist.experiment.audit import MOST_DOUBTED
from skinmnist.experiment.run_folder.record import RunRecord, read_mistakes
from skinmnist.reporting.format import (
    count,
    fixed,
    listing,
    model_title,
    pair_title,
    percent,
    sampler_title,
    shorten,
    titled,
)
from skinmnist.reporting.theme import (
    HEAT,
    LIGHT,
    LINE,
    MULTIPLE,
    MUTED,
    NARROW,
    SERIES,
    WIDE,
    Captioned,
    Embedded,
    PageFigure,
    embed_figure,
    embed_strip,
    heat_ink,
    label_rows,
    marker_style,
    model_colour,
    note,
    panels,
    sampler_legend,
    strips_figure,
    styled,
    text_width,
)

#: With more classes than this, the cells of the matrix are shaded but not numbered.
_NUMBERED_CLASSES = 12
_NAMED_CLASSES = 30
#: Maximum number of pairs whose confusion matrices and mistakes are shown.
_MOST_PAIRS = 12
#: The height of a picture in the gallery, in CSS pixels.
_MISTAKE = 84
_COLUMN_TITLES = {"age": "Age", "sex": "Sex", "localization": "Site"}


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of these sections; ``group_tables`` is empty without patient metadata."""
    record, metrics = analysis.record, _metrics(analysis.record)
    pairs = [] if analysis.subgroups.empty else titled(record.info, analysis.best_pairs).to_dict("records")
    return {
        "recall_figures": draw_recalls(record, analysis.recalls),
        "confusions": draw_confusions(analysis),
        "confusions_left_out": len(analysis.confusion_counts) - len(_leading_pairs(analysis)),
        "galleries": draw_galleries(analysis),
        "group_tables": [_group_table(analysis.subgroups, pair, metrics) for pair in pairs],
        "group_figures": [_draw_groups(analysis, pair, metrics) for pair in pairs],
        "fewest": FEWEST,
        "doubted": int(analysis.label_audit["doubted"].astype(bool).sum()),
        "audited": len(analysis.label_audit),
        "suspects": _suspects(analysis),
    }


def draw_recalls(record: RunRecord, recalls: pd.DataFrame) -> list[Captioned]:
    """Draw the recall of every class, one figure for each model."""
    samplers, models = record.info.grid.samplers, list(record.info.grid.models)
    class_names = record.info.table.class_names
    drawn = []
    for model, of_model in recalls.groupby("model", sort=False):
        title = model_title(record.info, str(model))
        colour = model_colour(models, str(model))
        figure = recall_figure(of_model, class_names, samplers, colour)
        alt = f"Dot plot of the recall of each class with {title}, one mark for each sampler; numbers below."
        drawn.append(Captioned(title, (embed_figure(figure, alt),)))
    return drawn


@styled
def recall_figure(
    recalls: pd.DataFrame, class_names: Sequence[str], samplers: Sequence[str], colour: str
) -> Figure:
    """Draw the recall of every class under each sampler, for one model."""
    names = [shorten(name, 14) for name in class_names]
    left = 18 + max(text_width(name) for name in names)
    shown = [name for name in samplers if name in set(recalls["sampler"])]
    legend_rows = -(-len(shown) // 2)
    height = 24 * len(names) + 56 + 17 * legend_rows
    figure, (axes,) = panels(MULTIPLE, height, (left, 14, 8, 48 + 17 * legend_rows))
    places = {name: len(names) - 1 - code for code, name in enumerate(class_names)}
    for name, of_class in recalls.groupby("class", sort=False):
        y = places[str(name)]
        axes.plot([of_class["mean"].min(), of_class["mean"].max()], [y, y], color=LINE, linewidth=3)
    for sampler in shown:
        rows = recalls[recalls["sampler"] == sampler]
        style = marker_style(samplers, sampler, colour, 7)
        axes.plot(rows["mean"], [places[name] for name in rows["class"]], **style, alpha=0.9)
        for name, mean in zip(rows["class"], rows["mean"], strict=True):
            note(axes, mean, places[name], f"{sampler}, {name}: {fixed(mean, 2)}")
    label_rows(axes, dict(enumerate(names[::-1])))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("recall, mean over folds")
    sampler_legend(figure, shown, samplers, colour)
    return figure


def draw_confusions(analysis: Analysis) -> list[Captioned]:
    """Draw the confusion matrices of the leading pairs, in grid order."""
    drawn, info, leading = [], analysis.record.info, _leading_pairs(analysis)
    for (sampler, model), counts in analysis.confusion_counts.items():
        if (sampler, model) not in leading:
            continue
        names, totals = info.table.class_names, counts.sum(axis=1)
        correct = [
            f"{name} {100 * hits / total:.0f} %"
            for name, hits, total in zip(names, counts.diagonal(), totals, strict=True)
            if total > 0
        ]
        titles = sampler_title(info, sampler, model), model_title(info, model)
        alt = f"Confusion matrix of {titles[0]} with {titles[1]}. Correct: {', '.join(correct)}."
        image = embed_figure(confusion_of(analysis, (sampler, model)), alt)
        drawn.append(Captioned(titles[0], (image,), titles[1]))
    return drawn


def _leading_pairs(analysis: Analysis) -> list[Pair]:
    """Return the trained pairs that lead the leaderboard, best first, up to `_MOST_PAIRS`."""
    board = analysis.leaderboard
    pairs = board.loc[~board["reference"] & ~board["corrected"], ["sampler", "model"]].head(_MOST_PAIRS)
    return list(pairs.itertuples(index=False, name=None))


def confusion_of(analysis: Analysis, pair: Pair) -> Figure:
    """Draw the `confusion_figure` of a pair."""
    return confusion_figure(analysis.confusion_counts[pair], analysis.record.info.table.class_names)


@styled
def confusion_figure(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix: each row is a true class and sums to 100 per cent."""
    k = len(counts)
    # Omit names too small to read; the class order matches the other tables.
    names = ["" if k > _NAMED_CLASSES else shorten(name, 10) for name in class_names]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros((k, k)), where=totals > 0)
    size = 10.5 if k <= 8 else 9 if k <= _NUMBERED_CLASSES else 7
    margin = 26 + max(text_width(name, size) for name in names)
    side = MULTIPLE - margin - 8
    figure, (axes,) = panels(MULTIPLE, side + margin + 8, (margin, 8, 8, margin))
    if k <= _NUMBERED_CLASSES:
        _draw_numbered_boxes(axes, shares, size)
    else:
        pixels = np.full((k, k, 4), to_rgba(SERIES[0]))
        pixels[..., 3] = shares
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(k - 0.5, -0.5)
    for true, predicted in np.argwhere(counts > 0) if k <= _NAMED_CLASSES else ():
        words = f"{class_names[true]} called {class_names[predicted]}"
        note(axes, predicted, true, f"{words}: {counts[true, predicted]:,} of {totals[true, 0]:,}")
    label_rows(axes, dict(enumerate(names)), size)
    axes.set_xticks([])
    for code, name in enumerate(names):
        axes.text(code, k - 0.45, name, rotation=90, ha="center", va="top", color=MUTED, fontsize=size)
    axes.spines[["left", "bottom"]].set_visible(False)
    figure.text(
        0.5 + (margin - 8) / MULTIPLE / 2, 4 / figure.bbox.height, "predicted", color=MUTED, ha="center"
    )
    centre = 0.5 + (margin - 8) / figure.bbox.height / 2
    figure.text(17 / MULTIPLE, centre, "true class", color=MUTED, ha="right", va="center", rotation=90)
    return figure


def _draw_numbered_boxes(axes: Axes, shares: npt.NDArray[np.float64], size: float) -> None:
    shown = np.argwhere(shares >= 0.005)
    colours = np.tile(to_rgba(HEAT), (len(shown), 1))
    colours[:, 3] = 0.04 + 0.96 * shares[tuple(shown.T)]
    boxes = [Rectangle((predicted - 0.48, true - 0.48), 0.96, 0.96) for true, predicted in shown]
    axes.add_collection(PatchCollection(boxes, facecolors=colours, linewidths=0), autolim=False)
    for true, predicted in shown:
        share = float(shares[true, predicted])
        ink = LIGHT[heat_ink(share)]
        number = f"{100 * share:.0f}"
        axes.text(predicted, true + 0.02, number, ha="center", va="center", color=ink, fontsize=size)


@dataclass(frozen=True)
class Gallery:
    """The confident mistakes of one pair, by class."""

    pair: str
    items: tuple[Mistake, ...]


@dataclass(frozen=True)
class Mistake:
    """A picture with its true and predicted class."""

    image: Embedded
    true: str
    named: str
    confidence: str


def draw_galleries(analysis: Analysis) -> list[Gallery]:
    """Enlarge the most confident mistakes of the leading pairs, the best pair first."""
    record, drawn = analysis.record, []
    for sampler, model in _leading_pairs(analysis):
        items = draw_mistakes(record, (sampler, model))
        if items:
            drawn.append(Gallery(pair_title(record.info, sampler, model), tuple(items)))
    return drawn


def draw_mistakes(record: RunRecord, pair: Pair) -> list[Mistake]:
    """Enlarge the most confident mistakes of a pair, class by class."""
    order = {name: place for place, name in enumerate(record.info.table.class_names)}
    drawn = [
        Mistake(
            embed_strip(picture[None], f"A picture of class {true} predicted as {named}", _MISTAKE),
            true,
            named,
            share,
        )
        for picture, true, named, share in _mistakes(record, pair)
    ]
    return sorted(drawn, key=lambda mistake: order[mistake.true])


def mistakes_of(record: RunRecord, pair: Pair) -> Figure | None:
    """Draw the most confident mistakes of a pair; None if no pictures are stored."""
    strips = [
        (f"{shorten(true, 12)}\ncalled {shorten(named, 12)}\n{share}", picture[None])
        for picture, true, named, share in _mistakes(record, pair)
    ]
    return strips_figure(strips, _MISTAKE) if strips else None


def _mistakes(
    record: RunRecord, pair: Pair | None = None
) -> list[tuple[npt.NDArray[np.uint8], str, str, str]]:
    """Return mistakes with their picture, true class, predicted class and probability."""
    names = record.info.table.class_names
    found, pictures = read_mistakes(record, pair)
    return [
        (
            picture,
            names[row["label"]],
            names[row["predicted"]],
            percent(row["confidence"]).replace(" ", "\u00a0"),
        )
        for row, picture in zip(found.to_dict("records"), pictures, strict=True)
    ]


@dataclass(frozen=True)
class Cell:
    """A share with its interval and number of pictures; the text is empty if there are too few."""

    text: str
    interval: str
    cases: str


@dataclass(frozen=True)
class GroupRow:
    """A group of patients with its scores."""

    group: str
    pictures: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class GroupTable:
    """The groups of one pair of sampler and model, keyed by column title."""

    pair: str
    title: str
    columns: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[GroupRow, ...]], ...]


def _metrics(record: RunRecord) -> dict[str, str]:
    """Return the shares to show with their titles: overall, class of interest and largest class."""
    table = record.info.table
    names, counts = table.class_names, np.asarray(table.rows_per_class)
    rare = facts.MELANOMA if facts.MELANOMA in names else names[int(counts.argmin())]
    common = names[int(counts.argmax())]
    return {"accuracy": "Accuracy"} | {f"recall_{name}": f"Recall of {name}" for name in (rare, common)}


def _group_table(subgroups: pd.DataFrame, pair: dict[Any, Any], metrics: dict[str, str]) -> GroupTable:
    own = subgroups[(subgroups["sampler"] == pair["sampler"]) & (subgroups["model"] == pair["model"])]
    title = f"{pair['sampler_title']} with {pair['model_title']}"
    blocks = []
    for column, of_column in own.groupby("column", sort=False):
        rows = []
        for group, of_group in of_column.groupby("group", sort=False):
            by_metric = {row["metric"]: row for row in of_group.to_dict("records")}
            first = by_metric["accuracy"]
            pictures = f"{first['pictures']:,} of {count(first['lesions'], 'lesion')}"
            rows.append(GroupRow(str(group), pictures, tuple(_cell(by_metric[name]) for name in metrics)))
        blocks.append((_COLUMN_TITLES.get(str(column), str(column)), tuple(rows)))
    return GroupTable(title, _titled(pair), tuple(metrics.values()), tuple(blocks))


def _titled(pair: dict[Any, Any]) -> str:
    """Return the name of a pair within a sentence."""
    if pair["sampler"] == "none":
        return f"{pair['model_title']} without a sampler"
    return f"{pair['sampler_title']} with {pair['model_title']}"


def _draw_groups(analysis: Analysis, pair: dict[Any, Any], metrics: dict[str, str]) -> Captioned:
    """Draw the shares of one pair by group."""
    own = analysis.subgroups
    own = own[(own["sampler"] == pair["sampler"]) & (own["model"] == pair["model"])]
    colour = model_colour(list(analysis.record.info.grid.models), pair["model"])
    title = _titled(pair)
    wide, narrow = (subgroup_figure(own, metrics, colour, phone) for phone in (False, True))
    alt = f"Dots with 95 % intervals: {listing(list(metrics.values()))} by group of patients, for {title}."
    return Captioned(title, (embed_figure(wide, f"{alt} The numbers are in the table.", narrow),))


@styled
def subgroup_figure(rows: pd.DataFrame, metrics: dict[str, str], colour: str, narrow: bool = False) -> Figure:
    """Draw shares with their intervals by patient group, one panel for each of `metrics`.

    `rows` are the `subgroup_scores` of one pair. With `narrow`, for phones, panels are stacked.
    """
    groups = list(dict.fromkeys(rows[["column", "group"]].itertuples(index=False, name=None)))
    places, y, headings = {}, 0.0, {}
    for column, group in groups:
        if column not in headings:
            headings[column] = y
            y += 1
        places[column, group] = y
        y += 1
    names = [shorten(str(group), 20) for _, group in groups]
    left, right, gap, step = 20 + max(text_width(name) for name in names), 14, 18, 19
    n, tall = len(metrics), step * y
    width = NARROW if narrow else WIDE
    height = n * (tall + 62) if narrow else tall + 62
    figure = PageFigure(figsize=(width / 72, height / 72), dpi=72)
    each = width - left - right if narrow else (width - left - right - gap * (n - 1)) / n
    for place, (metric, title) in enumerate(metrics.items()):
        x = left if narrow else left + place * (each + gap)
        low = height - 26 - tall - (place * (tall + 62) if narrow else 0)
        axes = figure.add_axes((x / width, low / height, each / width, tall / height))
        _draw_shares(axes, rows[rows["metric"] == metric], places, colour)
        axes.set_title(shorten(title, 34), loc="left", fontsize=11.5, weight="bold")
        axes.set(xlim=(-0.02, 1.02), ylim=(y - 0.5, -0.5), xlabel="share correct, 95 % interval")
        axes.set_yticks([])
        if narrow or not place:
            label_rows(axes, dict(zip(places.values(), names, strict=True)))
            for column, at in headings.items():
                title = shorten(_COLUMN_TITLES.get(str(column), str(column)), 20)
                axes.text(-left + 4, at, title, transform=_beside(axes), va="center", color=MUTED)
    return figure


def _beside(axes: Axes) -> Any:
    """Return a transform with x in pixels from the left edge of the axes and y in data coordinates."""
    return blended_transform_factory(Affine2D().translate(axes.bbox.x0, 0), axes.transData)


def _draw_shares(axes: Axes, rows: pd.DataFrame, places: dict[tuple[Any, Any], float], colour: str) -> None:
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    known = rows[rows["value"].notna()]
    heights = [places[key] for key in known[["column", "group"]].itertuples(index=False, name=None)]
    axes.hlines(heights, known["low"], known["high"], color=colour, linewidth=5, alpha=0.35)
    axes.plot(known["value"], heights, "o", color=colour, markersize=6)
    for row in rows.to_dict("records"):
        y = places[row["column"], row["group"]]
        if np.isnan(row["value"]):
            axes.text(0, y, f"too few ({row['cases']:,})", va="center", color=MUTED, fontsize=10)
            continue
        cell = _cell(row)
        note(axes, row["value"], y, f"{row['group']}: {cell.text}, {cell.interval}, of {cell.cases}")


def _cell(row: dict[Any, Any]) -> Cell:
    cases = f"{row['cases']:,}"
    if np.isnan(row["value"]):
        return Cell("", "", cases)
    return Cell(fixed(row["value"]), f"{fixed(row['low'])}–{fixed(row['high'])}", cases)


def _suspects(analysis: Analysis) -> list[dict[str, Any]]:
    """Return the pictures with the most suspicious labels, if the run stored them."""
    audit, pictures = analysis.label_audit, analysis.record.mistake_pictures
    shown = audit[audit["doubted"].astype(bool) & audit["row"].isin(list(pictures))].head(MOST_DOUBTED)
    return [
        {
            "image": embed_strip(
                np.asarray(pictures[row["row"]])[None],
                f"Picture {row['row']}, labelled {row['label']}; the models suggest {row['suggested']}",
            ),
            "row": f"{row['row']:,}",
            "label": row["label"],
            "suggested": row["suggested"],
            "p_label": percent(row["p_label"]),
            "p_suggested": percent(row["p_suggested"]),
        }
        for row in shown.to_dict("records")
    ]
