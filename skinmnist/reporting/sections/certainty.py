"""The certainty of the run: claims that its tests support, forest plots, verdicts and all comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.bootstrap import DRAWS
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.significance import (
    AS_TRAINED,
    BETTER,
    COMPARED_METRICS,
    EQUAL,
    ROPE,
    SURE,
    UNDECIDED,
    WORSE,
    detectable_difference,
    exchanged,
    reason_undecided,
)
from skinmnist.analysis.summaries import CLAIMED, comparisons_with, with_control
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import (
    HINTS,
    LABELS,
    MOST_NAMED,
    NOTHING,
    RULE_LABELS,
    Column,
    ascending,
    by_verdict,
    change,
    count,
    ends,
    fixed,
    label_in_text,
    listing,
    model_title,
    pair_title,
    probability,
    sampler_title,
    shorten,
    signed,
    titled,
)
from skinmnist.reporting.theme import (
    INK,
    LINE,
    MUTED,
    NARROW,
    WIDE,
    Embedded,
    embed_figure,
    note,
    pair_style,
    panels,
    styled,
    text_width,
)

#: Number of repeats for which the page estimates the detectable differences.
MORE_REPEATS = 3
#: Statement shown for runs with a single test set.
ONE_PART = (
    "One test set has no folds to test over, so every comparison is undecided for models trained on other "
    "pictures. The other intervals show how certain the scores of these trained models are."
)
#: Height of a heading and of a row, in CSS pixels.
_HEADING, _ROW, _NARROW_ROW = 34, 27, 46
#: Maximum number of comparisons in one table.
_MOST_ROWS = 600
_ARROWS = {BETTER: "▲ ", WORSE: "▼ "}


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of this section."""
    columns, verdicts = verdict_table(analysis)
    compared = comparison_rows(analysis)
    return {
        "draws": f"{DRAWS:,}",
        "rope": f"{ROPE:g}",
        "sure": f"{100 * SURE:.0f}",
        "certainty": certainty(analysis),
        "forests": draw_forests(analysis),
        "verdict_columns": columns,
        "verdicts": verdicts,
        "comparison_rows": compared,
        "comparisons_left_out": len(analysis.comparisons) - len(compared),
        "families": families(analysis),
        "more_repeats": _more_repeats(analysis.record)[0],
    }


def resampled_units(analysis: Analysis) -> str:
    """Return what the bootstrap resamples."""
    return "lesions" if analysis.lesions_known else "pictures"


@dataclass(frozen=True)
class Claim:
    """A name in bold, the claim about it, and its numbers."""

    subject: str
    words: str
    numbers: str = ""


@dataclass(frozen=True)
class Certainty:
    """One sentence, then claims about models, then remarks."""

    headline: str
    models: tuple[Claim, ...] = ()
    remarks: tuple[str, ...] = ()


def certainty(analysis: Analysis) -> Certainty:
    """State which samplers and models are better than which, based on their verdicts on macro-F1."""
    record, models = analysis.record, tuple(_about_models(analysis))
    rows = comparisons_with(analysis.comparisons)
    if rows.empty:
        return Certainty(_nothing_to_compare(record), models=models)
    return Certainty(
        ONE_PART if rows["folds"].max() == 1 else _headline(rows),
        models,
        (*_detectable(record, rows), *_pictures_only(record, rows, analysis)),
    )


def _nothing_to_compare(record: RunRecord) -> str:
    if not record.results:
        return "No cell has finished, so nothing can be said yet."
    if "none" not in record.info.grid.samplers:
        return "This run has no training without a sampler, so no sampler can be compared with it."
    if set(record.info.grid.samplers) == {"none"}:
        return "This run has trained without a sampler only, so there is none to compare."
    return "No sampler has a finished fold in common with training without one, so none can be compared."


def _headline(rows: pd.DataFrame) -> str:
    found = rows["verdict"].value_counts()
    if len(rows) == 1:
        words = {
            BETTER: "shows a better macro-F1",
            WORSE: "shows a worse macro-F1",
            EQUAL: "shows a macro-F1 that is practically equal",
            UNDECIDED: "is undecided for macro-F1",
        }
        return f"The only comparison of a sampler with no sampler {words[rows['verdict'].iloc[0]]}."
    phrases = {
        BETTER: ("shows", "show", "a better macro-F1"),
        WORSE: ("shows", "show", "a worse one" if BETTER in found else "a worse macro-F1"),
        EQUAL: ("is", "are", "practically equal"),
        UNDECIDED: ("is", "are", "undecided"),
    }
    parts = []
    for word, (one, many, rest) in phrases.items():
        if word in found:
            number = "all" if found[word] == len(rows) else f"{found[word]}"
            verb = one if number == "1" else many
            parts.append(f"{number} {verb} {rest}")
    scored = "macro-F1 as trained" if {BETTER, WORSE}.isdisjoint(found.index) else "as trained"
    if len(found) == 1:
        return (
            f"All {count(len(rows), 'comparison')} of a sampler with no sampler "
            f"{parts[0].removeprefix('all ')} ({scored})."
        )
    return f"Of {count(len(rows), 'comparison')} of a sampler with no sampler, {listing(parts)} ({scored})."


def families(analysis: Analysis) -> list[dict[str, str]]:
    """Format the test families: their question, number of tests and detectable differences."""
    folds, (_, planned) = analysis.record.info.protocol.folds, _more_repeats(analysis.record)
    laid = []
    for _, rows in analysis.comparisons.groupby("family", sort=False):
        first = rows.iloc[0]
        now, then = (detectable_difference(rows, folds, count) for count in (None, planned))
        laid.append(
            {
                "question": _question(first["family"]),
                "metric": LABELS[first["metric"]],
                "rule": RULE_LABELS[first["rule"]],
                "tests": str(first["tests"]),
                "now": fixed(now),
                "then": fixed(then),
            }
        )
    return laid


def _question(family: str) -> str:
    question = family.partition(":")[0].replace("prior_correction", "prior correction")
    return question.replace("against none", "against no sampler")


def _more_repeats(record: RunRecord) -> tuple[int, int]:
    """Return a number of repeats larger than the run's, and the resulting number of folds."""
    repeats = record.info.repeats
    more = MORE_REPEATS * (repeats if repeats >= MORE_REPEATS else 1)
    return more, more * record.info.protocol.planned_folds


def _about_models(analysis: Analysis) -> list[Claim]:
    """Compare the best pair's model with every other model, separately for each sampler."""
    rows = analysis.comparisons
    rows = rows[(rows["question"] == "model") & (rows["metric"] == CLAIMED)]
    rows = rows[rows["rule"] == AS_TRAINED]
    if analysis.best_pairs.empty:
        return []
    info, best = analysis.record.info, analysis.best_pairs["model"].iloc[0]
    seen = [rows[rows["model"] == best], exchanged(rows[rows["against"] == best])]
    return [
        Claim(
            f"{model_title(info, best)} against {model_title(info, str(other))}",
            # The bare name: the sampler may have worked in a different space for each model.
            by_verdict((row["verdict"], row["sampler"], change(row)) for row in ascending(against)),
        )
        for other, against in pd.concat(seen).sort_index().groupby("against", sort=False)
    ]


def _detectable(record: RunRecord, rows: pd.DataFrame) -> list[str]:
    """State which difference this run could detect, and which difference more repeats could detect."""
    folds, (more, planned) = record.info.protocol.folds, _more_repeats(record)
    here, there = (detectable_difference(rows, folds, count) for count in (None, planned))
    if np.isnan(here):
        return []
    tests = int(rows["tests"].max())
    return [
        f"Undecided is no proof of equality. Over {count(rows['folds'].max(), 'fold')}"
        f"{f' and {tests} comparisons' if tests > 1 else ''}, half of the intervals over folds extend "
        f"{fixed(here)} or more on each side, so smaller differences will rarely be detected; with --repeats "
        f"{more} and the same spread it would be {fixed(there)}."
    ]


def _pictures_only(record: RunRecord, rows: pd.DataFrame, analysis: Analysis) -> list[str]:
    """List differences that hold for other test pictures but are undecided over repeated training runs."""
    over = analysis.difference_intervals
    over = over[over["metric"] == CLAIMED]
    clear = over[(over["low"] > 0) | (over["high"] < 0)]
    both = rows[rows["verdict"] == UNDECIDED].merge(clear[["sampler", "model"]], on=["sampler", "model"])
    if both.empty:
        return []
    named = listing(_pairs(record, both)) if len(both) <= MOST_NAMED else f"{len(both)} undecided pairs"
    return [
        f"For {named}, the interval over {resampled_units(analysis)} excludes zero, "
        "but over folds the verdict is undecided: these trained models differ by more than the choice of "
        "pictures explains, but models trained on other pictures might not."
    ]


def _pairs(record: RunRecord, rows: pd.DataFrame) -> list[str]:
    return [
        pair_title(record.info, sampler, model)
        for sampler, model in rows[["sampler", "model"]].itertuples(index=False)
    ]


@dataclass(frozen=True)
class Forest:
    """A forest plot of one metric."""

    label: str
    image: Embedded


def forest_rows(analysis: Analysis, metric: str) -> pd.DataFrame:
    """Join the tests of one metric with the intervals over lesions; returns the rows of `forest_figure`."""
    rows = with_control(analysis.comparisons, metric)
    over = analysis.difference_intervals
    over = over.loc[over["metric"] == metric, ["sampler", "model", "low", "high"]]
    over = over.rename(columns={"low": "lesion_low", "high": "lesion_high"})
    rows = rows.merge(over, on=["sampler", "model"], how="left")
    return titled(analysis.record.info, rows)


def draw_forests(analysis: Analysis) -> list[Forest]:
    """Draw a forest plot for every compared metric, macro-F1 first; empty without comparisons."""
    grid = analysis.record.info.grid
    samplers, models, units = grid.samplers, list(grid.models), resampled_units(analysis)
    drawn = []
    for metric in dict.fromkeys(analysis.comparisons["metric"]):
        rows = forest_rows(analysis, str(metric))
        if rows.empty:
            continue
        label = label_in_text(str(metric))
        shown = [
            f"{row['sampler_title']} with {row['model_title']} {signed(row['difference'])}, {row['verdict']}"
            for row in rows.to_dict("records")
        ]
        alt = (
            f"Forest plot of differences in {label} from training without a sampler: {'; '.join(shown)}. "
            "The intervals are in the table of all comparisons."
        )
        wide, narrow = (forest_figure(rows, samplers, models, label, phone, units) for phone in (False, True))
        drawn.append(Forest(label, embed_figure(wide, alt, narrow)))
    return drawn


@styled
def forest_figure(
    rows: pd.DataFrame,
    samplers: Sequence[str],
    models: Sequence[str],
    label: str,
    narrow: bool = False,
    units: str = "lesions",
) -> Figure:
    """Draw the difference between every pair and the same model without a sampler, with both intervals.

    `rows` are those of `forest_rows`, grouped by model. With `narrow`, for phones, names are above the marks.
    """
    records = rows.to_dict("records")
    row_step = _NARROW_ROW if narrow else _ROW
    n_headings = rows["model"].nunique()
    height = n_headings * _HEADING + len(rows) * row_step
    names = [shorten(row["sampler_title"], 34) for row in records]
    verdicts = [row["verdict"] for row in records]
    left = 12 if narrow else 30 + max(text_width(name) for name in names)
    right = 12 if narrow else 16 + max(text_width(verdict, 11) for verdict in verdicts)
    legend = 62 if narrow else 34
    width = NARROW if narrow else WIDE
    figure, (axes,) = panels(width, height + 46 + legend, (left, right, 4, 42 + legend))
    axes.set_ylim(height, 0)
    axes.axvspan(-ROPE, ROPE, color=LINE, alpha=0.55, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1)
    y, model = 0.0, None
    for row, name in zip(records, names, strict=True):
        if row["model"] != model:
            model = row["model"]
            _write(axes, shorten(row["model_title"], 54), y + _HEADING * 0.66, left, narrow, weight="bold")
            y += _HEADING
        centre = y + (row_step - 13 if narrow else row_step / 2)
        _draw_difference(axes, row, centre, pair_style(samplers, models, row["sampler"], row["model"]))
        ink: dict[str, Any] = {"color": INK if row["verdict"] in (BETTER, WORSE) else MUTED}
        if narrow:
            _write(axes, name, y + 14, left, narrow)
            axes.text(1, y + 14, row["verdict"], transform=_rowwise(axes), ha="right", va="center", **ink)
        else:
            _write(axes, name, centre, left, narrow)
            x = 1 + 12 / (width - left - right)
            axes.text(x, centre, row["verdict"], transform=_rowwise(axes), va="center", **ink)
        y += row_step
    _limit(axes, rows)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel(f"difference in {label} to training without a sampler")
    _explain(figure, narrow, units)
    return figure


def _rowwise(axes: Axes) -> Any:
    return axes.get_yaxis_transform()


def _write(axes: Axes, text: str, y: float, left: float, narrow: bool, weight: str = "normal") -> None:
    """Write a name at the left edge of the figure, or of the axes on a phone."""
    width = axes.bbox.width
    x = 0.0 if narrow else -(left - (0 if weight == "bold" else 16)) / width
    axes.text(x, y, text, transform=_rowwise(axes), va="center", weight=weight)


def _draw_difference(axes: Axes, row: Any, y: float, style: dict[str, Any]) -> None:
    colour = style["markeredgecolor"]
    axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=9, alpha=0.3, solid_capstyle="butt")
    axes.plot([row["lesion_low"], row["lesion_high"]], [y, y], color=colour, linewidth=1.8)
    axes.plot([row["difference"]], [y], **style)
    interval = reason_undecided(row) if np.isnan(row["low"]) else f"95 % interval {ends(row)}"
    note(axes, row["difference"], y, f"{signed(row['difference'])}, {row['verdict']}: {interval}")


def _limit(axes: Axes, rows: pd.DataFrame) -> None:
    shown = rows[["difference", "low", "high", "lesion_low", "lesion_high"]].to_numpy(dtype=float)
    values = [*shown.ravel(), -2 * ROPE, 2 * ROPE]
    low, high = np.nanmin(values), np.nanmax(values)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.2f}".replace("-", "−") if value else "0")


def _explain(figure: Figure, narrow: bool, units: str) -> None:
    handles = [
        Line2D([], [], color=MUTED, linewidth=9, alpha=0.4, label="95 % interval over folds, simultaneous"),
        Line2D([], [], color=MUTED, linewidth=1.8, label=f"95 % interval over {units}"),
        Patch(color=LINE, alpha=0.55, label=f"within ±{ROPE:g}"),
    ]
    figure.legend(handles=handles, loc="lower left", ncols=1 if narrow else 3, borderaxespad=0, borderpad=0.2)


@dataclass(frozen=True)
class Verdict:
    """A cell in the table of verdicts."""

    text: str
    words: str
    shown: bool
    hover: str


def verdict_table(analysis: Analysis) -> tuple[list[Column], list[dict[str, Any]]]:
    """Format the result of every pair and metric against training without a sampler."""
    info = analysis.record.info
    rows = pd.concat([with_control(analysis.comparisons, metric) for metric in COMPARED_METRICS])
    metrics = [name for name in COMPARED_METRICS if name in set(rows["metric"])]
    laid = []
    for (model, sampler), of_pair in rows.groupby(["model", "sampler"], sort=False):
        by_metric = {row["metric"]: row for row in of_pair.to_dict("records")}
        laid.append(
            {
                "sampler": sampler_title(info, str(sampler), str(model)),
                "model": model_title(info, str(model)),
                "corrected": sampler == PRIOR_CORRECTION,
                "verdicts": [_verdict(by_metric.get(name)) for name in metrics],
            }
        )
    return [Column(LABELS[name], HINTS[name]) for name in metrics], laid


def _verdict(row: Any) -> Verdict:
    if row is None:
        return Verdict(NOTHING, "", False, "")
    known = not np.isnan(row["low"])
    hover = f"{ends(row)}, p {probability(row['p_simultaneous'])}" if known else reason_undecided(row)
    words = row["verdict"]
    return Verdict(_ARROWS.get(words, "") + signed(row["difference"]), words, words in _ARROWS, hover)


def comparison_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Format every comparison as text; of more than `_MOST_ROWS`, only those of the primary score."""
    info, rows, shown = analysis.record.info, [], analysis.comparisons
    if len(shown) > _MOST_ROWS:
        shown = shown[shown["metric"] == CLAIMED]
    for row in shown.to_dict("records"):
        of_models = row["question"] == "model"
        against = (
            model_title(info, row["against"])
            if of_models
            else sampler_title(info, row["against"], row["model"])
        )
        rows.append(
            {
                "sampler": sampler_title(info, row["sampler"], row["model"]),
                "model": model_title(info, row["model"]),
                "against": against,
                "metric": LABELS[row["metric"]],
                "rule": RULE_LABELS[row["rule"]],
                "folds": row["folds"],
                "difference": signed(row["difference"]),
                "interval": ends(row),
                "p": _p(row["p_simultaneous"]),
                "tests": str(row["tests"]),
                "chances": " / ".join(_share(row[side]) for side in ("worse", "equivalent", "better")),
                "verdict": row["verdict"],
            }
        )
    return rows


def _p(value: float) -> str:
    return probability(value).removeprefix("= ")


def _share(value: float) -> str:
    return NOTHING if np.isnan(value) else f"{100 * value:.0f}"
