"""How sure the run is: what may be claimed by its tests, forest plots, verdicts and all comparisons."""

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
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.analysis.significance import (
    BETTER,
    COMPARED_METRICS,
    NOT_SHOWN,
    ROPE,
    TOO_FEW,
    WORSE,
    exchanged,
    typical_reach,
)
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import (
    HINTS,
    LABELS,
    NOTHING,
    Column,
    count,
    fixed,
    label_in_text,
    listing,
    model_title,
    pair_title,
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
    pair_style,
    panels,
    styled,
    text_width,
)

#: From this probability on, two scores count as equal in practice.
SURE = 0.95
CLAIMED = "macro_f1"
#: Room for a heading and for a row, in CSS pixels.
_HEADING, _ROW, _NARROW_ROW = 34, 27, 46
_ARROWS = {BETTER: "▲ ", WORSE: "▼ "}


def context(analysis: Analysis) -> dict[str, Any]:
    """Return what the section shows."""
    columns, verdicts = verdict_table(analysis)
    return {
        "lesions_known": analysis.lesions_known,
        "units": _units(analysis),
        "draws": f"{DRAWS:,}",
        "rope": f"{ROPE:g}",
        "certainty": certainty(analysis),
        "forests": draw_forests(analysis),
        "verdict_columns": columns,
        "verdicts": verdicts,
        "comparison_rows": comparison_rows(analysis),
    }


def _units(analysis: Analysis) -> str:
    return "lesions" if analysis.lesions_known else "pictures"


@dataclass(frozen=True)
class Claim:
    """A name, set in bold, and what is claimed about it."""

    subject: str
    words: str


@dataclass(frozen=True)
class Certainty:
    """One sentence, then claims about samplers and about models, then remarks."""

    headline: str
    samplers: tuple[Claim, ...] = ()
    models: tuple[Claim, ...] = ()
    remarks: tuple[str, ...] = ()


def comparisons_with(
    comparisons: pd.DataFrame, against: str = "none", metric: str = CLAIMED, corrected: bool = False
) -> pd.DataFrame:
    """Select comparisons of samplers with `against`; prior correction is left out unless asked for."""
    rows = (comparisons["question"] == "sampler") & (comparisons["against"] == against)
    rows &= comparisons["metric"] == metric
    return comparisons[rows if corrected else rows & (comparisons["sampler"] != PRIOR_CORRECTION)]


def certainty(analysis: Analysis) -> Certainty:
    """Say which samplers and models are better than which, by the corrected tests of macro-F1."""
    record, models = analysis.record, tuple(_about_models(analysis))
    rows = comparisons_with(analysis.comparisons)
    if rows.empty:
        return Certainty(_nothing_to_compare(record), models=models)
    return Certainty(
        _headline(rows),
        tuple(_about_samplers(record, rows)),
        models,
        (*_reach(rows), *_equal(record, rows), *_pictures_only(record, rows, analysis)),
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
            NOT_SHOWN: "shows no difference in macro-F1",
            TOO_FEW: "has too few folds to say",
        }
        return f"The one comparison of a sampler with training without one {words[rows['verdict'].iloc[0]]}."
    phrases = {
        BETTER: ("shows", "show", "a better macro-F1"),
        WORSE: ("shows", "show", "a worse one" if BETTER in found else "a worse macro-F1"),
        NOT_SHOWN: ("shows", "show", "no difference"),
        TOO_FEW: ("has", "have", "too few folds to say"),
    }
    parts = []
    for word, (one, many, rest) in phrases.items():
        if word in found:
            number = "all" if found[word] == len(rows) else f"{found[word]}"
            verb = one if number == "1" else many
            parts.append(f"{number} {verb} {rest}")
    return (
        f"Of {count(len(rows), 'comparison')} of a sampler with training without one, "
        f"judged by macro-F1, {listing(parts)}."
    )


def _about_samplers(record: RunRecord, rows: pd.DataFrame) -> list[Claim]:
    return [
        Claim(
            model_title(record.info, str(model)),
            _by_verdict(
                (row["verdict"], sampler_title(record.info, row["sampler"], str(model)), row["difference"])
                for row in of_model.to_dict("records")
            ),
        )
        for model, of_model in rows.groupby("model", sort=False)
    ]


def _by_verdict(outcomes: Any) -> str:
    """Join outcomes (verdict, name, difference): ``better with SMOTE (+0.113); ...``."""
    together: dict[str, list[str]] = {}
    for verdict, name, difference in outcomes:
        together.setdefault(verdict, []).append(f"{name} ({signed(difference)})")
    parts = [
        f"{word} with {listing(together[word])}"
        for word in (BETTER, WORSE, NOT_SHOWN, TOO_FEW)
        if word in together
    ]
    return f"{'; '.join(parts)}."


def _about_models(analysis: Analysis) -> list[Claim]:
    """Compare the model of the best pair with every other, sampler by sampler."""
    rows = analysis.comparisons
    rows = rows[(rows["question"] == "model") & (rows["metric"] == CLAIMED)]
    if analysis.best_pairs.empty:
        return []
    info, best = analysis.record.info, analysis.best_pairs["model"].iloc[0]
    seen = [rows[rows["model"] == best], exchanged(rows[rows["against"] == best])]
    return [
        Claim(
            f"{model_title(info, best)} against {model_title(info, str(other))}",
            # The bare name: the sampler may have worked in different spaces for the two.
            _by_verdict(against[["verdict", "sampler", "difference"]].itertuples(index=False)),
        )
        for other, against in pd.concat(seen).sort_index().groupby("against", sort=False)
    ]


def _reach(rows: pd.DataFrame) -> list[str]:
    reach = typical_reach(rows)
    if np.isnan(reach) or (rows["verdict"] != NOT_SHOWN).all():
        return []
    folds = rows["folds"].max()
    return [
        f"“{NOT_SHOWN.capitalize()}” is a result, and no proof of equality: over {count(folds, 'fold')}, "
        f"half of the intervals reach {fixed(reach)} or more to either side, and a "
        "difference smaller than its interval cannot show."
    ]


def _equal(record: RunRecord, rows: pd.DataFrame) -> list[str]:
    equal = rows[rows["equivalent"] >= SURE]
    if equal.empty:
        return []
    return [
        f"Equal in practice, by at least {100 * SURE:.0f} % probability of a difference within ±{ROPE:g} of "
        f"training without a sampler: {listing(_pairs(record, equal))}."
    ]


def _pictures_only(record: RunRecord, rows: pd.DataFrame, analysis: Analysis) -> list[str]:
    """Name the differences that outlast other pictures, but are not shown to outlast other trainings."""
    over = analysis.difference_intervals
    over = over[over["metric"] == CLAIMED]
    clear = over[(over["low"] > 0) | (over["high"] < 0)]
    both = rows[rows["verdict"] == NOT_SHOWN].merge(clear[["sampler", "model"]], on=["sampler", "model"])
    if both.empty:
        return []
    return [
        f"For {listing(_pairs(record, both))}, the bootstrap interval excludes zero, but the test is not "
        "significant: these trained models differ by more than the choice of pictures explains, but models "
        "trained on other pictures might not."
    ]


def _pairs(record: RunRecord, rows: pd.DataFrame) -> list[str]:
    return [
        pair_title(record.info, sampler, model)
        for sampler, model in rows[["sampler", "model"]].itertuples(index=False)
    ]


def evidence(row: Any) -> str:
    """Write what a verdict rests on: ``95 % interval over 5 folds −0.003 to +0.070, p = 0.26 ...``."""
    if row["verdict"] == TOO_FEW:
        return f"{count(row['folds'], 'fold')} in common, too few to say"
    tests = f" after correction for {row['tests']} comparisons" if row["tests"] > 1 else ""
    return (
        f"95 % interval over {count(row['folds'], 'fold')} from {signed(row['low'])} to "
        f"{signed(row['high'])}, p {probability(row['p_holm'])}{tests}"
    )


def probability(p: float) -> str:
    """Write a p-value: ``= 0.259`` or ``< 0.001``; a dash where it could not be computed."""
    if np.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"= {fixed(p)}"


@dataclass(frozen=True)
class Forest:
    """A forest plot of one metric."""

    label: str
    image: Embedded


def forest_rows(analysis: Analysis, metric: str) -> pd.DataFrame:
    """Join the tests of one metric with the intervals over lesions: the rows of `forest_figure`."""
    rows = comparisons_with(analysis.comparisons, metric=metric, corrected=True)
    over = analysis.difference_intervals
    over = over.loc[over["metric"] == metric, ["sampler", "model", "low", "high"]]
    over = over.rename(columns={"low": "lesion_low", "high": "lesion_high"})
    rows = rows.merge(over, on=["sampler", "model"], how="left")
    return titled(analysis.record.info, rows)


def draw_forests(analysis: Analysis) -> list[Forest]:
    """Draw a forest plot of every compared metric, macro-F1 first; nothing where nothing is compared."""
    grid = analysis.record.info.grid
    samplers, models, units = grid.samplers, list(grid.models), _units(analysis)
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
            f"Forest plot of differences in {label} to training without a sampler: {'; '.join(shown)}. "
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
    """Draw the difference of every pair to the same model without a sampler, with both intervals.

    `rows` are those of `forest_rows`, models together; `narrow`, for a phone, puts names above the marks.
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
    """Write a name at the left edge of the figure, or, on a phone, of the axes."""
    width = axes.bbox.width
    x = 0.0 if narrow else -(left - (0 if weight == "bold" else 16)) / width
    axes.text(x, y, text, transform=_rowwise(axes), va="center", weight=weight)


def _draw_difference(axes: Axes, row: Any, y: float, style: dict[str, Any]) -> None:
    colour = style["markeredgecolor"]
    axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=9, alpha=0.3, solid_capstyle="butt")
    axes.plot([row["lesion_low"], row["lesion_high"]], [y, y], color=colour, linewidth=1.8)
    axes.plot([row["difference"]], [y], **style)


def _limit(axes: Axes, rows: pd.DataFrame) -> None:
    """Show everything but intervals over too few folds, which have no end."""
    tested = rows[rows["folds"] > 2]
    values = np.concatenate(
        [
            rows[["difference", "lesion_low", "lesion_high"]].to_numpy(dtype=float).ravel(),
            tested[["low", "high"]].to_numpy(dtype=float).ravel(),
            [-2 * ROPE, 2 * ROPE],
        ]
    )
    low, high = np.nanmin(values), np.nanmax(values)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.2f}".replace("-", "−") if value else "0")


def _explain(figure: Figure, narrow: bool, units: str) -> None:
    handles = [
        Line2D([], [], color=MUTED, linewidth=9, alpha=0.4, label="95 % interval over folds, corrected"),
        Line2D([], [], color=MUTED, linewidth=1.8, label=f"95 % interval over {units}"),
        Patch(color=LINE, alpha=0.55, label=f"within ±{ROPE:g}"),
    ]
    figure.legend(handles=handles, loc="lower left", ncols=1 if narrow else 3, borderaxespad=0, borderpad=0.2)


@dataclass(frozen=True)
class Verdict:
    """A cell of the table of verdicts."""

    text: str
    words: str
    shown: bool
    hover: str


def verdict_table(analysis: Analysis) -> tuple[list[Column], list[dict[str, Any]]]:
    """Lay out what is shown for every pair and metric against training without a sampler."""
    info, rows = analysis.record.info, analysis.comparisons
    rows = rows[(rows["question"] == "sampler") & (rows["against"] == "none")]
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
    hover = f"{signed(row['low'])} to {signed(row['high'])}, p {probability(row['p_holm'])}"
    words = row["verdict"]
    text = _ARROWS.get(words, "") + signed(row["difference"])
    return Verdict(text, "not shown" if words == NOT_SHOWN else words, words in _ARROWS, hover)


def comparison_rows(analysis: Analysis) -> list[dict[str, str]]:
    """Lay out every comparison that was made, as text."""
    info, rows = analysis.record.info, []
    for row in analysis.comparisons.to_dict("records"):
        by_sampler = row["question"] == "sampler"
        against = (
            sampler_title(info, row["against"], row["model"])
            if by_sampler
            else model_title(info, row["against"])
        )
        rows.append(
            {
                "sampler": sampler_title(info, row["sampler"], row["model"]),
                "model": model_title(info, row["model"]),
                "against": against,
                "metric": LABELS[row["metric"]],
                "folds": str(row["folds"]),
                "difference": signed(row["difference"]),
                "interval": f"{signed(row['low'])} to {signed(row['high'])}",
                "p": _p(row["p"]),
                "p_holm": _p(row["p_holm"]),
                "chances": " / ".join(_share(row[side]) for side in ("worse", "equivalent", "better")),
                "verdict": row["verdict"],
            }
        )
    return rows


def _p(value: float) -> str:
    return probability(value).removeprefix("= ")


def _share(value: float) -> str:
    return NOTHING if np.isnan(value) else f"{100 * value:.0f}"
