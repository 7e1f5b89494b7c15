"""The effects of samplers: trade-off curves as thresholds move, and verdicts on equal terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.curves import BETWEEN_CLASSES, CURVE, FOR_MELANOMA
from skinmnist.analysis.significance import AS_TRAINED, BETTER, WORSE
from skinmnist.analysis.summaries import MEASURED, OPEN, Effect, comparisons_with, effects
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    LABELS,
    MOST_NAMED,
    NOTHING,
    ascending,
    by_verdict,
    chance,
    change,
    count,
    ends,
    fixed,
    listing,
    model_title,
    pair_title,
    sampler_label,
    sampler_title,
    shorten,
    signed,
)
from skinmnist.reporting.sections.certainty import Claim
from skinmnist.reporting.theme import (
    INK,
    MUTED,
    NARROW,
    ON_HEAT,
    WIDE,
    Embedded,
    PageFigure,
    embed_figure,
    marker_style,
    model_colour,
    note,
    styled,
    text_width,
)
from skinmnist.text import printable

#: The tuned rule whose decisions are marked; claims should rest on its score.
TUNED = "tuned_macro_f1"
#: With more samplers than this, a panel draws the two best lines and the worst.
MOST_CURVES = 3
#: Line styles of samplers, which share the colour of their model.
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.4, 1.4)))
_DOT: dict[str, Any] = {"marker": "o", "markersize": 6, "markeredgecolor": ON_HEAT, "linestyle": "none"}
_AXES = {
    BETWEEN_CLASSES: ("accuracy", "balanced accuracy"),
    FOR_MELANOMA: ("specificity for melanoma", "melanomas found"),
}
#: Margins, gaps and heights, in CSS pixels.
_LEFT, _RIGHT, _GAP, _TITLE, _BELOW, _PANEL, _LEGEND = 52, 14, 20, 24, 42, 150, 172

_Points = npt.NDArray[np.float64]
_Plane = tuple[str, str]


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of this section."""
    found, info = effects(analysis.comparisons), analysis.record.info
    return {
        "tradeoff": draw_tradeoff(analysis),
        "tradeoff_claims": tradeoff_claims(analysis),
        "effect_labels": [LABELS[metric] for _, metric in MEASURED],
        "effects": effect_rows(info, found),
        "effects_summary": summary(found, partial(pair_title, info)),
    }


@dataclass(frozen=True)
class Tradeoff:
    """The figure, and the notes on this run for its caption."""

    image: Embedded
    melanoma: bool
    tuned: bool
    cells: int
    largest: str
    remarks: tuple[str, ...]


def tradeoff_claims(analysis: Analysis) -> list[Claim]:
    """State for each model what its samplers changed, strictly according to the verdicts."""
    rows, found = comparisons_with(analysis.comparisons), effects(analysis.comparisons)
    info = analysis.record.info
    claims = []
    for model in dict.fromkeys(effect.model for effect in found):
        # A conclusion that is open adds nothing to the verdicts.
        closed = [effect for effect in found if effect.model == model and effect.conclusion != OPEN]
        outcomes = [
            (row["verdict"], printable(row["sampler"]), change(row))
            for row in ascending(rows[rows["model"] == model])
        ]
        words = " ".join(summary(closed, lambda sampler, _: printable(sampler)))
        claims.append(Claim(model_title(info, model), words, by_verdict(outcomes)))
    return claims


def draw_tradeoff(analysis: Analysis) -> Tradeoff | None:
    """Draw `tradeoff_figure` and describe its numbers in words; None if no cell has finished."""
    frame = analysis.tradeoff
    if frame.empty:
        return None
    figures = [tradeoff_figure(analysis, narrow) for narrow in (False, True)]
    return Tradeoff(
        embed_figure(figures[0], _in_words(analysis), figures[1]),
        FOR_MELANOMA in _planes(frame),
        TUNED in set(frame["mark"]),
        int(frame["cells"].max()),
        f"{frame.loc[frame['mark'] == CURVE, 'exponent'].max():g}",
        (*_without_line(analysis), *_left_out(analysis)),
    )


def _planes(frame: pd.DataFrame) -> list[_Plane]:
    found = set(frame[["x", "y"]].itertuples(index=False, name=None))
    return [plane for plane in _AXES if plane in found]


def with_line(of_model: pd.DataFrame) -> list[str]:
    """Select the samplers of one model whose lines are drawn, ``none`` first.

    If there are many, these are the two lines that reach the highest balanced accuracy and the lowest line.
    """
    curves = of_model[(of_model["mark"] == CURVE) & (of_model["x"] == BETWEEN_CLASSES[0])]
    heights = curves.groupby("sampler", sort=False)["y_mean"].max()
    others = heights.drop("none", errors="ignore").sort_values(ascending=False, kind="stable")
    names = list(others.index)
    if len(names) > MOST_CURVES:
        names = [*names[: MOST_CURVES - 1], names[-1]]
    return [name for name in heights.index if name == "none" or name in names]


def _without_line(analysis: Analysis) -> list[str]:
    """State that not every sampler has a line."""
    frame = analysis.tradeoff
    drawn = {str(model): with_line(rows) for model, rows in frame.groupby("model", sort=False)}
    if all(set(rows["sampler"]) == set(drawn[str(model)]) for model, rows in frame.groupby("model")):
        return []
    return [
        "For each model, lines are drawn only for the two samplers that reach the highest balanced accuracy "
        "and for the one that stays lowest; the others are shown only as marks, as trained."
    ]


def _left_out(analysis: Analysis) -> list[str]:
    """List the planned pairs without a finished cell."""
    info = analysis.record.info
    shown = set(analysis.tradeoff[["sampler", "model"]].itertuples(index=False, name=None))
    planned = dict.fromkeys((cell.sampler, cell.model) for cell in info.cells)
    missing = [pair_title(info, *pair) for pair in planned if pair not in shown]
    return [f"Omitted because none of their cells has finished: {listing(missing)}."] if missing else []


def _in_words(analysis: Analysis) -> str:
    """Describe the figure in numbers: each line's points as trained and as tuned."""
    info, frame, parts = analysis.record.info, analysis.tradeoff, []
    for model, of_model in frame.groupby("model", sort=False):
        lines = of_model[of_model["sampler"].isin(with_line(of_model))]
        for plane in _planes(of_model):
            shown = []
            for sampler, rows in lines[lines["x"] == plane[0]].groupby("sampler", sort=False):
                at = {str(row["mark"]): (row["x_mean"], row["y_mean"]) for row in rows.to_dict("records")}
                places = [
                    f"{fixed(at[mark][0])} and {fixed(at[mark][1])} {words}"
                    for mark, words in ((AS_TRAINED, "as trained"), (TUNED, "tuned for macro-F1"))
                    if mark in at
                ]
                shown.append(f"{sampler} {', '.join(places)}")
            parts.append(f"{model_title(info, str(model))}, {' and '.join(_AXES[plane])}: {'; '.join(shown)}")
    return f"Trade-offs of {count(len(parts), 'panel')}, one line for each sampler. {'. '.join(parts)}."


@styled
def tradeoff_figure(analysis: Analysis, narrow: bool = False) -> Figure:
    """Draw each model's trade-off between classes as its threshold moves, with and without samplers.

    Models are side by side, with the two planes of `tradeoff_curves` one below the other. With `narrow`, for
    phones, all panels are stacked.
    """
    frame, info = analysis.tradeoff, analysis.record.info
    models = [name for name in info.grid.models if name in set(frame["model"])]
    planes, samplers = _planes(frame), info.grid.samplers
    figure, places = model_panels(len(models), len(planes), narrow, 1 + frame["sampler"].nunique())
    limits = {plane: limits_around(frame[frame["x"] == plane[0]]) for plane in planes}
    for place, model in enumerate(models):
        of_model = frame[frame["model"] == model]
        drawn, colour = with_line(of_model), model_colour(list(info.grid.models), model)
        for row, plane in enumerate(planes):
            axes, first = places[place][row]
            x, y = _AXES[plane]
            axes.set(xlim=limits[plane][0], ylim=limits[plane][1], xlabel=x, ylabel=y if first else "")
            axes.tick_params(labelleft=first)
            _draw_panel(axes, of_model[of_model["x"] == plane[0]], drawn, samplers, colour)
            if row == 0 or narrow:
                title = shorten(model_title(info, model), int(axes.bbox.width / 7))
                axes.set_title(title, loc="left", fontsize=12, weight="bold", pad=10)
    _add_legend(figure, frame, samplers)
    return figure


def model_panels(
    n_models: int, n_planes: int, narrow: bool, n_legend: int
) -> tuple[Figure, list[list[tuple[Axes, bool]]]]:
    """Return a figure with axes for each model and plane; a flag marks the first axes in each row."""
    if narrow:
        columns, width = 1, NARROW
        grid = [[(0, model * n_planes + plane) for plane in range(n_planes)] for model in range(n_models)]
    elif n_models == 1:
        columns, width = n_planes, WIDE if n_planes > 1 else WIDE // 2
        grid = [[(plane, 0) for plane in range(n_planes)]]
    else:
        columns, width = (2 if n_models in (2, 4) else 3), WIDE
        grid = [
            [(model % columns, model // columns * n_planes + plane) for plane in range(n_planes)]
            for model in range(n_models)
        ]
    apart = _LEFT + _GAP // 2 if n_models == 1 else _GAP
    each = (width - _LEFT - _RIGHT - apart * (columns - 1)) / columns
    titled = [narrow or row % n_planes == 0 for row in range(1 + max(row for of in grid for _, row in of))]
    tops = np.cumsum([0, *(_PANEL + _BELOW + _TITLE * above for above in titled)])
    height = tops[-1] + 18 * -(-n_legend // int(width // _LEGEND))
    figure = PageFigure(figsize=(width / 72, height / 72), dpi=72)

    def add(column: int, row: int) -> Axes:
        left, top = _LEFT + column * (each + apart), tops[row] + _TITLE * titled[row]
        lower = height - top - _PANEL
        return figure.add_axes((left / width, lower / height, each / width, _PANEL / height))

    own = narrow or n_models == 1
    return figure, [[(add(*place), own or place[0] == 0) for place in of] for of in grid]


def limits_around(rows: pd.DataFrame) -> tuple[tuple[float, float], tuple[float, float]]:
    """Frame the decisions of interest; lines may leave the frame on the left or below, at large losses."""
    marks = rows[rows["mark"] != CURVE]
    lowest = marks[["x_mean", "y_mean"]].min() - 0.02
    curves = rows[rows["mark"] == CURVE]
    curves = curves[(curves["x_mean"] >= lowest["x_mean"]) & (curves["y_mean"] >= lowest["y_mean"])]
    shown = pd.concat([marks, curves])
    ends = []
    for axis in ("x_mean", "y_mean"):
        low, high = float(shown[axis].min()), float(shown[axis].max())
        room = max(0.06 * (high - low), 0.01)
        # Leave room for a name above the highest line.
        above = 2.2 * room if axis == "y_mean" else room
        ends.append((max(low - room, -0.02), min(high + above, 1.02)))
    return ends[0], ends[1]


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, drawn: Sequence[str], samplers: Sequence[str], colour: str
) -> None:
    """Draw one model in one plane: lines, the band for ``none``, marks, and labels next to the lines."""
    axes.grid(axis="both")
    axes.locator_params(nbins=5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{round(value, 4):g}")
    lines, marks = {}, []
    others = [name for name in drawn if name != "none"]
    for sampler in [name for name in samplers if name in set(rows["sampler"])]:
        own = rows[rows["sampler"] == sampler].set_index("mark")
        hue = INK if sampler == "none" else colour
        if sampler in drawn:
            curve = own.loc[[CURVE]]
            if sampler == "none":
                _draw_band(axes, curve)
            dashes = "-" if sampler == "none" else _DASHES[others.index(sampler) % len(_DASHES)]
            width, depth = (2.2, 4) if sampler == "none" else (1.7, 3)
            axes.plot(
                curve["x_mean"], curve["y_mean"], color=hue, linewidth=width, linestyle=dashes, zorder=depth
            )
            lines[sampler] = _in_pixels(axes, curve)
            if TUNED in own.index:
                point = own.loc[TUNED]
                axes.plot([point["x_mean"]], [point["y_mean"]], color=hue, zorder=5, **_DOT)
                _say(axes, sampler, "tuned for macro-F1", point)
        style = _mark(samplers, sampler, hue, 8 if sampler in drawn else 6)
        point = own.loc[AS_TRAINED]
        axes.plot([point["x_mean"]], [point["y_mean"]], zorder=6, **style)
        _say(axes, sampler, "as trained", point)
        marks.append(_in_pixels(axes, own.loc[[AS_TRAINED]])[0])
    _name_lines(axes, lines, np.array(marks), colour)


def _say(axes: Axes, sampler: str, rule: str, point: Any) -> None:
    x, y = _AXES[point["x"], point["y"]]
    values = f"{x} {fixed(point['x_mean'])}, {y} {fixed(point['y_mean'])}"
    note(axes, point["x_mean"], point["y_mean"], f"{sampler_label(sampler, 40)}, {rule}: {values}")


def _mark(samplers: Sequence[str], sampler: str, colour: str, size: float) -> dict[str, Any]:
    style = marker_style(samplers, sampler, colour, size)
    return style | ({"markerfacecolor": ON_HEAT} if sampler == "none" else {})


def _in_pixels(axes: Axes, rows: pd.DataFrame) -> _Points:
    return np.asarray(axes.transData.transform(rows[["x_mean", "y_mean"]].to_numpy(dtype=float)))


def _draw_band(axes: Axes, curve: pd.DataFrame) -> None:
    """Draw one standard deviation on either side, measured perpendicular to the line."""
    if curve["x_sd"].isna().any():
        return
    points = _in_pixels(axes, curve)
    # A line that turns back on itself, as with balanced classes, has no sides.
    if np.hypot(*np.diff(points, axis=0).T).sum() > 2 * np.hypot(*np.ptp(points, axis=0)):
        return
    # Over a few points: the direction of two neighbours jumps, and the band would have spikes.
    places = np.arange(len(points))
    along = points[np.minimum(places + 3, len(points) - 1)] - points[np.maximum(places - 3, 0)]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.maximum(np.hypot(*across.T), 1e-9)[:, None]
    scale = axes.transData.transform([(1, 1)])[0] - axes.transData.transform([(0, 0)])[0]
    (dx, dy), (nx, ny) = curve[["x_sd", "y_sd"]].to_numpy().T * scale[:, None], across.T
    together = 2 * nx * ny * dx * dy * curve["correlation"].to_numpy()
    spread = np.sqrt(np.maximum((nx * dx) ** 2 + (ny * dy) ** 2 + together, 0))[:, None]
    edge = np.concatenate([points + across * spread, (points - across * spread)[::-1]])
    corners = axes.transData.inverted().transform(edge)
    axes.fill(*corners.T, color=INK, alpha=0.12, linewidth=0, zorder=1)


def _name_lines(axes: Axes, lines: dict[str, _Points], marks: _Points, colour: str) -> None:
    """Write the name of each line where it hides the least, with a thin stroke to the line."""
    box = axes.bbox
    taken: list[_Points] = []
    dense = {name: _dense(points) for name, points in lines.items()}
    for name, points in dense.items():
        text = sampler_label(name, 24)
        size = text_width(text, 13), 15.0
        shifts = [(dx, dy) for dx in (10, -10 - size[0]) for dy in (-size[1] - 4, -size[1] / 2, 4)]
        anchors = np.repeat(points[_inside(points, box)][::4], len(shifts), axis=0)
        corners = anchors + np.tile(shifts, (len(anchors) // len(shifts), 1))
        fits = _inside(corners, box) & _inside(corners + size, box)
        if not fits.any():
            continue
        anchors, corners = anchors[fits], corners[fits]
        best = int(_costs(corners, size, dense, name, marks, taken).argmin())
        anchor, corner = anchors[best], corners[best]
        taken.append(np.concatenate([corner, corner + size]))
        left = corner[0] < anchor[0]
        start = corner + np.array([size[0] if left else 0.0, size[1] / 2])
        to_data = axes.transData.inverted().transform
        stroke = to_data([anchor, start + np.array([2.0 if left else -2.0, 0.0])])
        hue = INK if name == "none" else colour
        axes.plot(*stroke.T, color=hue, linewidth=0.9, zorder=2)
        side = "right" if left else "left"
        x, y = to_data(start)
        axes.text(x, y, text, ha=side, va="center", fontsize=10.5, zorder=7)


def _dense(points: _Points) -> _Points:
    """Place points every few pixels along a line."""
    lengths = np.append(0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))
    at = np.arange(0, lengths[-1] + 1, 4.0)
    return np.stack([np.interp(at, lengths, points[:, axis]) for axis in (0, 1)], axis=1)


def _inside(points: _Points, box: Any) -> npt.NDArray[np.bool_]:
    x, y = points.T
    return (x >= box.x0) & (x <= box.x1) & (y >= box.y0) & (y <= box.y1)


def _costs(
    corners: _Points,
    size: tuple[float, float],
    lines: dict[str, _Points],
    name: str,
    marks: _Points,
    taken: Sequence[_Points],
) -> _Points:
    """Score each position by the overlap of the name, and by how much closer other lines are than its own."""
    points = np.concatenate([*lines.values()])
    costs = 3.0 * _covered(corners, size, points, 2) + 30.0 * _covered(corners, size, marks, 7)
    for other in taken:
        apart = (corners[:, 0] >= other[2] + 4) | (corners[:, 0] + size[0] <= other[0] - 4)
        apart |= (corners[:, 1] >= other[3] + 2) | (corners[:, 1] + size[1] <= other[1] - 2)
        costs += np.where(apart, 0.0, 1000.0)
    gaps = {label: _distance(corners, size, line) for label, line in lines.items()}
    others = np.min([gap for label, gap in gaps.items() if label != name], axis=0, initial=1000.0)
    return costs + 2 * np.maximum(24.0 + gaps[name] - others, 0)


def _covered(corners: _Points, size: tuple[float, float], points: _Points, room: float) -> _Points:
    gaps = points[None] - corners[:, None]
    inside = ((gaps > -room) & (gaps < np.array(size) + room)).all(axis=-1)
    return inside.sum(axis=1).astype(float)


def _distance(corners: _Points, size: tuple[float, float], points: _Points) -> _Points:
    """Return the distance between each box and a line."""
    gaps = points[None] - corners[:, None]
    outside = np.maximum(np.maximum(-gaps, gaps - np.array(size)), 0)
    return np.asarray(np.hypot(outside[..., 0], outside[..., 1]).min(axis=1))


def _add_legend(figure: Figure, frame: pd.DataFrame, samplers: Sequence[str]) -> None:
    """Draw a legend of the marks below the panels."""
    handles = [
        Line2D(
            [],
            [],
            label=sampler_label(name, 26),
            **_mark(samplers, name, INK if name == "none" else MUTED, 6.5),
        )
        for name in samplers
        if name in set(frame["sampler"])
    ]
    if TUNED in set(frame["mark"]):
        handles.append(Line2D([], [], label="tuned for macro-F1", color=MUTED, **_DOT))
    figure.legend(
        handles=handles,
        loc="lower left",
        ncols=int(figure.bbox.width // _LEGEND),
        fontsize=10.5,
        handletextpad=0.2,
        columnspacing=1.0,
        borderaxespad=0,
        borderpad=0.2,
    )


@dataclass(frozen=True)
class EffectCell:
    """A comparison as text: difference, verdict, the interval behind it, and the most probable region."""

    difference: str
    verdict: str = ""
    interval: str = ""
    posterior: str = ""
    shown: bool = False


@dataclass(frozen=True)
class EffectRow:
    """The effect of one sampler on one model: a cell for each entry of `MEASURED`, and the conclusion."""

    sampler: str
    model: str
    cells: tuple[EffectCell, ...]
    conclusion: str


def effect_rows(info: RunInfo, found: list[Effect]) -> list[EffectRow]:
    """Format the effects, each comparison with its verdict, interval and posterior."""
    return [
        EffectRow(
            sampler_title(info, effect.sampler, effect.model),
            model_title(info, effect.model),
            tuple(_cell(effect.rows.get(measure)) for measure in MEASURED),
            effect.conclusion,
        )
        for effect in found
    ]


def _cell(row: Any) -> EffectCell:
    if row is None:
        return EffectCell(NOTHING)
    shown = row["verdict"] in (BETTER, WORSE)
    return EffectCell(
        signed(row["difference"]),
        row["verdict"],
        ends(row),
        chance(row) if row["low"] == row["low"] else "",
        shown,
    )


def summary(found: list[Effect], title: Callable[[str, str], str]) -> list[str]:
    """Group pairs by conclusion: ``SMOTE with svm: moved the threshold only.``.

    Undecided pairs come last; if they are more than `MOST_NAMED`, only their number is stated.
    """
    together: dict[str, list[str]] = {}
    for effect in sorted(found, key=lambda effect: effect.conclusion == OPEN):
        together.setdefault(effect.conclusion, []).append(title(effect.sampler, effect.model))
    undecided = len(together.get(OPEN, []))
    if undecided > MOST_NAMED:
        together[OPEN] = [f"{'All' if undecided == len(found) else 'The other'} {undecided} pairs"]
    return [f"{listing(pairs)}: {words}." for words, pairs in together.items()]
