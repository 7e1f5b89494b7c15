"""Formatting of samplers, models, numbers and score tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.significance import BETTER, EQUAL, ROPE, UNDECIDED, WORSE, reason_undecided
from skinmnist.experiment.cells import MIXED
from skinmnist.experiment.lesion_scores import LESION
from skinmnist.experiment.metrics import COST_METRICS, LOWER_IS_BETTER, METRIC_TITLES
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.resampling.strategies import STRATEGIES, base_name
from skinmnist.text import printable

CORRECTION_TITLE = "prior correction"
_LONGEST_TITLE = 500
#: Maximum number of samplers or pairs that a sentence names; of more, it states the number.
MOST_NAMED = 6
#: Placeholder for a missing number.
NOTHING = "–"
MINUS = "−"

LABELS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro-F1",
    "macro_auc": "Macro-AUC",
    "macro_average_precision": "Macro average precision",
    "mcc": "Matthews correlation",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error",
    f"recall_{facts.MELANOMA}": "Melanoma recall",
    "cost_per_1000_as_trained": "Cost per 1,000",
    "cost_per_1000_cost_sensitive": "Cost-sensitive",
    "seconds": "Seconds per fold",
    "megabytes": "Memory, MB",
}
#: Decision rules, as labelled in tables.
RULE_LABELS = {
    "as_trained": "as trained",
    "natural_prior": "at the natural prior",
    "balanced_prior": "at equal priors",
    "tuned_macro_f1": "tuned for macro-F1",
    "tuned_balanced_accuracy": "tuned for balanced accuracy",
}
HINTS = {
    **METRIC_TITLES,
    **COST_METRICS,
    f"recall_{facts.MELANOMA}": "Share of the melanoma pictures that are predicted as melanoma.",
    "seconds": (
        "Resampling, fitting and predicting, including networks that rows share; wall clock, mean of folds; "
        "lower is better."
    ),
    "megabytes": "Largest resident memory of the process that trained a fold; lower is better.",
}


def sampler_title(info: RunInfo, sampler: str, model: str) -> str:
    """Return a sampler's name with its space, ``"SMOTE on pixels"``, or a strategy's name alone."""
    if sampler == PRIOR_CORRECTION:
        return CORRECTION_TITLE
    if sampler == MIXED:
        return "mixed samplers"
    known = info.grid.models.get(model)
    return space_title(sampler, known.space if known else "")


def sampler_label(sampler: str, limit: int = 36) -> str:
    """Return a sampler's name for a legend, cut at `limit`."""
    return "no sampler" if sampler == "none" else shorten(sampler, limit)


def space_title(sampler: str, space: str) -> str:
    """Join the name of a sampler and the space in which it worked."""
    if sampler == "none":
        return "no sampler"
    title = sampler if base_name(sampler) in STRATEGIES or not space else f"{sampler} on {space}"
    return printable(title, _LONGEST_TITLE)


def model_title(info: RunInfo, model: str) -> str:
    """Return the display title of a model."""
    known = info.grid.models.get(model)
    return printable(known.title if known else model, _LONGEST_TITLE)


def titled(info: RunInfo, frame: pd.DataFrame) -> pd.DataFrame:
    """Add ``sampler_title`` and ``model_title`` to a frame with ``sampler`` and ``model``."""
    pairs = list(frame[["sampler", "model"]].itertuples(index=False))
    titles = [sampler_title(info, sampler, model) if sampler else "" for sampler, model in pairs]
    added = frame.assign(sampler_title=titles, model_title=[model_title(info, model) for _, model in pairs])
    return added.astype({"sampler_title": str, "model_title": str})


def pair_title(info: RunInfo, sampler: str, model: str) -> str:
    """Return the name of a pair within a sentence: ``"SMOTE on pixels with Convolutional network"``."""
    if sampler == "none":
        return f"{model_title(info, model)} without a sampler"
    return f"{sampler_title(info, sampler, model)} with {model_title(info, model)}"


def base_model(info: RunInfo, model: str) -> str:
    """Return the base model to whose predictions clinical columns were added; empty for any other model."""
    known = info.grid.models.get(model)
    return known.base if known else ""


def ensembles(info: RunInfo) -> list[str]:
    """Return the models of a run that average other models, without those with clinical columns."""
    return [name for name, model in info.grid.models.items() if model.members]


def clinical_columns(info: RunInfo) -> list[str]:
    """Return the clinical columns that any model of a run uses."""
    return list(dict.fromkeys(column for model in info.grid.models.values() for column in model.clinical))


def added_columns(info: RunInfo) -> str:
    """Describe the columns added to models' predictions, in words that fit every model of a run.

    An extended run folder may combine models with different columns.
    """
    sets = {model.clinical for model in info.grid.models.values() if model.clinical}
    return listing(clinical_columns(info)) if len(sets) < 2 else "the clinical columns in its title"


def label_in_text(metric: str) -> str:
    """Return the label of a metric for use within a sentence."""
    label = LABELS[metric]
    return label if metric == "brier" else label[0].lower() + label[1:]


def digits_of(metric: str) -> int:
    """Return the number of decimals of a score: costs are not shares of 1."""
    return 1 if metric in COST_METRICS else 3


def fixed(value: float, digits: int = 3) -> str:
    """Format a score as ``0.612``, or a cost as ``1,234.5``, with a true minus sign; a dash if missing."""
    if math.isnan(value):
        return NOTHING
    text = f"{abs(value):,.{digits}f}"
    return (MINUS if value < 0 and float(text.replace(",", "")) else "") + text


def signed(value: float, digits: int = 3) -> str:
    """Format a signed difference: ``+0.022``."""
    return ("+" if round(value, digits) > 0 else "") + fixed(value, digits)


def with_spread(mean: float, spread: float, digits: int = 3) -> str:
    """Format a mean and a standard deviation, ``0.612 ± 0.014``; only the mean if there is no spread."""
    if math.isnan(mean) or math.isnan(spread):
        return fixed(mean, digits)
    return f"{fixed(mean, digits)} ± {fixed(spread, digits)}"


def ends(row: Any, between: str = " to ") -> str:
    """Format the interval behind the verdict of a comparison; a dash if there is no interval."""
    return NOTHING if math.isnan(row["low"]) else f"{signed(row['low'])}{between}{signed(row['high'])}"


def change(row: Any) -> str:
    """Format the difference of a comparison with its interval: ``+0.022 [−0.003, +0.047]``."""
    difference = signed(row["difference"])
    return difference if math.isnan(row["low"]) else f"{difference} [{ends(row, ', ')}]"


def chance(row: Any) -> str:
    """Format the largest posterior probability of a comparison, ``97 % above +0.01``; a dash if unknown."""
    if math.isnan(row["equivalent"]):
        return NOTHING
    lower = row["metric"] in LOWER_IS_BETTER
    places = {
        "equivalent": f"within ±{ROPE:g}",
        "better": f"below {MINUS}{ROPE:g}" if lower else f"above +{ROPE:g}",
        "worse": f"above +{ROPE:g}" if lower else f"below {MINUS}{ROPE:g}",
    }
    side = max(places, key=lambda name: row[name])
    return f"{100 * row[side]:.0f} % {places[side]}"


def evidence(row: Any) -> str:
    """Format a verdict's evidence: ``95 % interval over 5 folds from −0.003 to +0.070, p = 0.26 ...``."""
    if math.isnan(row["low"]):
        return f"no interval: {reason_undecided(row)}"
    together = f", for {row['tests']} comparisons together" if row["tests"] > 1 else ""
    return (
        f"95 % interval over {count(row['folds'], 'fold')} from {ends(row)}, p "
        f"{probability(row['p_simultaneous'])}{together}"
    )


def probability(p: float) -> str:
    """Format a p-value as ``= 0.259`` or ``< 0.001``; a dash if it could not be computed."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"= {fixed(p)}"


def unbroken(text: str) -> str:
    """Prevent line breaks between a mean and its spread, and between a number and its per cent sign."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def count(number: float, noun: str, plural: str | None = None) -> str:
    """Format a counted noun: ``1 fold``, ``7,470 lesions``."""
    return f"{number:,.0f} {noun if number == 1 else plural or noun + 's'}"


def percent(share: float) -> str:
    """Format a share as a percentage: ``66.9 %``."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Format a duration: ``8 min 32 s``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def shorten(text: str, limit: int) -> str:
    """Shorten a name to fit, and escape unprintable characters."""
    text = printable(text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def listing(names: list[str], most: int | None = None) -> str:
    """Join names into a list: ``a, b and c``; of more than `most` names, ``a, b and 3 more``."""
    if most is not None and len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def ascending(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return rows as records: in ascending order of the difference if there are too many to name them all."""
    return (rows.sort_values("difference") if len(rows) > MOST_NAMED else rows).to_dict("records")


def by_verdict(outcomes: Any) -> str:
    """Join outcomes (verdict, name, change): ``better with SMOTE (+0.113 [+0.020, +0.206]); ...``.

    Of more than `MOST_NAMED` outcomes with one verdict, given in ascending order, only the ends are named.
    """
    together: dict[str, list[tuple[str, str]]] = {}
    for verdict, name, changed in outcomes:
        together.setdefault(verdict, []).append((name, changed))
    parts = [
        f"{word} {_named(together[word])}" for word in (BETTER, WORSE, EQUAL, UNDECIDED) if word in together
    ]
    return f"{'; '.join(parts)}."


def _named(outcomes: list[tuple[str, str]]) -> str:
    if len(outcomes) > MOST_NAMED:
        low, high = (
            f"{changed} ({'no sampler' if name == 'none' else name})"
            for name, changed in outcomes[:: len(outcomes) - 1]
        )
        return f"in {len(outcomes)} comparisons, from {low} to {high}"
    first = next((name for name, _ in outcomes if name != "none"), "")
    texts = [
        f"{'without a sampler' if name == 'none' else 'with ' * (name == first) + name} ({changed})"
        for name, changed in outcomes
    ]
    return listing(texts)


@dataclass(frozen=True)
class Value:
    """A table number as text; `value` is its sort key, `hover` the text shown on hover."""

    text: str
    value: float
    spread: str = ""
    best: bool = False
    hover: str = ""
    #: The same score by lesion, and the text shown when hovering over it.
    lesion: str = ""
    lesion_hover: str = ""


@dataclass(frozen=True)
class Row:
    """A pair of sampler and model, the majority baseline, or prior correction, with its numbers."""

    sampler: str
    model: str
    figures: tuple[Value, ...]
    reference: bool = False
    remark: str = ""
    corrected: bool = False


@dataclass(frozen=True)
class Column:
    """A heading with its explanation."""

    label: str
    hint: str
    by_lesion: bool = False


def score_table(board: pd.DataFrame, costs: bool = False) -> tuple[list[Column], list[Row]]:
    """Format a titled `leaderboard` or `calibration`, with the best value of each column marked.

    The majority baseline and prior correction are not marked, because neither is a trained pair.
    """
    metrics = [name for name in board.columns if f"{name}_sd" in board.columns]
    pairs = ~(board["reference"] | board["corrected"]).to_numpy(dtype=bool)
    texts: dict[str, list[Value]] = {}
    for metric in metrics:
        texts[metric] = score_values(
            board[[metric, f"{metric}_sd"]], pairs, metric in LOWER_IS_BETTER, digits_of(metric)
        )
        if (lesion := LESION + metric) in board.columns:
            shown = board[lesion].map(lambda value: "" if np.isnan(value) else fixed(value))
            texts[metric] = [
                replace(value, lesion=text) for value, text in zip(texts[metric], shown, strict=True)
            ]
    for name, digits in (("seconds", 1), ("megabytes", 0)) if costs else ():
        values = board[name].to_numpy(dtype=float)
        best = _best(values, pairs, True, digits)
        texts[name] = [
            Value(NOTHING if np.isnan(value) else f"{value:,.{digits}f}", value, "", bool(is_best))
            for value, is_best in zip(values, best, strict=True)
        ]
    rows = []
    for place, row in enumerate(board.to_dict("records")):
        partial = row["cells"] < row["planned"]
        rows.append(
            Row(
                sampler=row["sampler_title"],
                model=row["model_title"],
                figures=tuple(column[place] for column in texts.values()),
                reference=bool(row["reference"]),
                remark=f"{row['cells']} of {row['planned']} folds finished" if partial else "",
                corrected=bool(row["corrected"]),
            )
        )
    columns = [
        Column(LABELS[name], HINTS[name], any(value.lesion for value in values))
        for name, values in texts.items()
    ]
    return columns, rows


def score_values(
    scores: pd.DataFrame, competing: np.ndarray, lowest: bool = False, digits: int = 3
) -> list[Value]:
    """Format a column of means and one of standard deviations; mark the best of the `competing` rows."""
    means, spreads = scores.to_numpy(dtype=float).T
    return [
        Value(
            fixed(mean, digits), mean, "" if np.isnan(spread) else f"± {fixed(spread, digits)}", bool(is_best)
        )
        for mean, spread, is_best in zip(means, spreads, _best(means, competing, lowest, digits), strict=True)
    ]


def _best(values: np.ndarray, eligible: np.ndarray, lowest: bool, digits: int) -> np.ndarray:
    """Mark the best values as printed, including ties; a single pair is not marked."""
    rounded = np.where(eligible, np.round(values, digits), np.nan)
    if np.count_nonzero(~np.isnan(rounded)) < 2:
        return np.zeros(len(values), dtype=bool)
    return np.asarray(rounded == (np.nanmin(rounded) if lowest else np.nanmax(rounded)))
