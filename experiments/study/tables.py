"""The tables of docs/study.md as Markdown, each from the committed results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from claims import CLAIMS
from collect import failures
from effects import (
    AS_TRAINED,
    AS_TRAINED_BALANCED,
    CONTROL,
    ECE,
    ECE_NATURAL,
    LOSS_NATURAL,
    PRECISION,
    RANKING,
    TUNED,
    TUNED_BALANCED,
    VERDICTS,
    Study,
    on_table,
)

from skinmnist import facts
from skinmnist.reporting.format import fixed, signed

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE, IMAGES = "study.md", "images"
TEMPLATE = "study.md.jinja"

QUESTIONS = {
    "ranking": RANKING,
    "precision": PRECISION,
    "as_trained": AS_TRAINED,
    "as_trained_balanced": AS_TRAINED_BALANCED,
    "control": CONTROL,
    "tuned": TUNED,
    "tuned_balanced": TUNED_BALANCED,
    "ece": ECE,
    "ece_natural": ECE_NATURAL,
    "loss_natural": LOSS_NATURAL,
}
#: Methods shown where all would be too many.
MAIN = (
    "none", "tuned_plain", "class_weight", "RandomOverSampler", "SMOTE", "RandomUnderSampler", "sqrt_batches",
    "balanced_batches",
)  # fmt: skip
_ENDS = ("value", "low", "high")


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table whose columns after the first `words` are numbers."""
    ruler = ["---"] * words + ["---:"] * (len(headings) - words)
    lines = [headings, ruler, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(row: dict[str, Any] | pd.Series, digits: int = 3) -> str:
    """Return a difference with its simultaneous interval and, unless it is decided, its verdict."""
    if np.isnan(row["low"]):
        return signed(row["difference"], digits)
    text = (
        f"{signed(row['difference'], digits)} [{signed(row['low'], digits)}, {signed(row['high'], digits)}]"
    )
    return text


def parts_table(study: Study) -> str:
    """What was run: cells, failures, hours; synthetic tables together."""
    parts, rows = study.parts, []
    results = study.collected.results
    results = results[results["status"] != "pending"]
    for (group, table), of_group in parts.groupby(["group", "table"], sort=False):
        for names in (
            [[name] for name in of_group["part"]] if table != "synthetic" else [list(of_group["part"])]
        ):
            own, cells = of_group[of_group["part"].isin(names)], results[results["part"].isin(names)]
            first = own.iloc[0]
            title = names[0] if len(names) == 1 else f"{group}, {len(names)} tables"
            folds = f"{first['folds']} × {first['repeats']}"
            rows.append(
                [
                    title,
                    f"{first['pictures']:,}, {first['size'].replace('x', ' × ')}",
                    ", ".join(f"`{name}`" for name in dict.fromkeys(cells["model"])),
                    str(cells["sampler"].nunique()),
                    folds,
                    f"{own['done'].sum():,}",
                    str(own["failed"].sum()),
                    f"{own['core_seconds'].sum() / 3600:.2f}",
                ]
            )
    total = [f"**{parts['done'].sum():,}**", f"**{parts['failed'].sum()}**", f"**{study.core_hours:.2f}**"]
    rows.append(["**all**", "", "", "", "", *total])
    headings = [
        "part",
        "pictures",
        "models",
        "methods",
        "folds × repeats",
        "cells done",
        "failed",
        "core-hours",
    ]
    return markdown(headings, rows, words=3)


def verdict_table(study: Study, group: str) -> str:
    """How many methods are better, equal, undecided and worse, by model and question."""
    asked = (RANKING, AS_TRAINED, CONTROL, TUNED, TUNED_BALANCED)
    rows = []
    for model in [*study.models(group), None]:
        counts = [study.verdicts(group, question, model and [model]) for question in asked]
        cells = [" / ".join(str(count[verdict]) for verdict in VERDICTS) for count in counts]
        rows.append([f"`{model}`" if model else "all", *cells])
    headings = [
        "model",
        "macro-AUC",
        "macro-F1 as trained",
        "as trained against `tuned_plain`",
        "macro-F1, both tuned",
        "balanced accuracy, both tuned",
    ]
    return markdown(headings, rows)


def best_table(study: Study, groups: Sequence[str]) -> str:
    """The best method of each model by two scores, with intervals over the whole family."""
    rows = []
    for group in groups:
        for model in study.models(group):
            cells = [group, f"`{model}`"]
            for question in (RANKING, TUNED, CONTROL):
                found = study.compare(group, question)
                found = found[found["model"] == model]
                if found.empty:
                    cells += ["–", "–"]
                    continue
                row = found.loc[found["difference"].idxmax()]
                cells += [fixed(row["against_value"]), f"{row['sampler']} {interval(row)}, {row['verdict']}"]
            rows.append(cells)
    headings = ["table", "model", "macro-AUC of none", "best change", "tuned macro-F1 of none", "best change"]
    headings += ["macro-F1 of `tuned_plain`", "best change, as trained"]
    return markdown(headings, rows, words=2)


def method_table(study: Study, group: str) -> str:
    """One row for each method: range of changes over models, calibration, and cost."""
    seconds = study.seconds(group)
    questions = (RANKING, TUNED, CONTROL)
    rows = []
    for method in ["none", "tuned_plain", *study.methods(group)]:
        changes = []
        for question in questions:
            found = study.compare(group, question)
            own = found.loc[found["sampler"] == method, "difference"]
            low_high = "–" if own.empty else _range(own)
            changes.append(low_high)
        models = study.group(group).query("sampler == @method")["model"].nunique()
        calibration = [
            _score(study, group, rule, metric, method)
            for rule, metric in (ECE[:2], ECE_NATURAL[:2], LOSS_NATURAL[:2])
        ]
        rows.append([method, str(models), *changes, *calibration, _cost(seconds, method)])
    headings = [
        "method",
        "models",
        "macro-AUC",
        "macro-F1, both tuned",
        "macro-F1 as trained against `tuned_plain`",
    ]
    headings += ["ECE as trained", "ECE natural", "log loss natural", "seconds, times none"]
    return markdown(headings, rows)


def _range(values: pd.Series) -> str:
    low, high = float(values.min()), float(values.max())
    return signed(low) if len(values) == 1 else f"{signed(low)} to {signed(high)}"


def _score(study: Study, group: str, rule: str, metric: str, method: str) -> str:
    return fixed(study.mean(group, rule, metric, method))


def _cost(seconds: pd.DataFrame, method: str) -> str:
    """Return the range over models of the median seconds of a cell, relative to none."""
    if method == "none":
        return "1"
    ratios = (seconds[method] / seconds["none"]).dropna() if method in seconds else pd.Series(dtype=float)
    if method == "tuned_plain" or ratios.empty:
        return "0 more" if method == "tuned_plain" else "–"
    low, high = (_figures(value) for value in (ratios.min(), ratios.max()))
    return low if low == high else f"{low} to {high}"


def _figures(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def class_table(study: Study, group: str) -> str:
    """Recall of each class, as trained and tuned for macro-F1, means over cells and models."""
    rows = []
    for method in [name for name in MAIN if (study.group(group)["sampler"] == name).any()]:
        cells = []
        for name in facts.CLASS_NAMES:
            as_trained, tuned = (
                study.mean(group, rule, f"recall_{name}", method) for rule in ("as_trained", "tuned_macro_f1")
            )
            cells.append(
                fixed(as_trained, 2)
                if method == "tuned_plain"
                else f"{fixed(as_trained, 2)} / {fixed(tuned, 2)}"
            )
        rows.append([method, *cells])
    return markdown(["method", *facts.CLASS_NAMES], rows)


def subgroup_table(study: Study, group: str, model: str, methods: Sequence[str], fewest: int = 40) -> str:
    """Melanoma recall and accuracy by group of patients, for one model."""
    found, parts = study.collected.subgroups, study.parts
    own = found["part"].isin(parts.loc[parts["group"] == group, "part"]) & (found["model"] == model)
    found = found[own & found["sampler"].isin(methods)]
    mel = found[
        (found["metric"] == "recall_mel") & (found["cases"] >= fewest) & (found["group"] != "unknown")
    ]
    rows = []
    for (column, name), of_group in mel.groupby(["column", "group"], sort=False):
        cells = [f"{column}: {name}", f"{int(of_group['cases'].iloc[0])}"]
        for method in methods:
            own = of_group[of_group["sampler"] == method]
            value, low, high = (fixed(own[name].iloc[0], 2) if len(own) else "–" for name in _ENDS)
            cells.append(f"{value} [{low}, {high}]")
        accuracy = found[
            (found["metric"] == "accuracy") & (found["column"] == column) & (found["group"] == name)
        ]
        for method in methods[:2]:
            own = accuracy[accuracy["sampler"] == method]
            cells.append(fixed(own["value"].iloc[0], 2) if len(own) else "–")
        rows.append(cells)
    headings = ["group", "melanomas", *(f"recall, {name}" for name in methods)]
    headings += [f"accuracy, {name}" for name in methods[:2]]
    return markdown(headings, rows)


def imbalance_table(study: Study, group: str) -> str:
    """Scores of none by overlap and imbalance, and the verdicts on the methods with all models."""
    parts = study.parts[study.parts["group"] == group].sort_values(["overlap", "ratio"])
    models = study.plain_models(group)
    rows = []
    for part in parts.to_dict("records"):
        here = [on_table(model, part["part"]) for model in models]
        cells = [f"{part['overlap']:g}", f"{part['ratio']:g}:1"]
        for name in here:
            scores = [study.mean(group, *question[:2], "none", name) for question in (RANKING, TUNED)]
            cells.append(" / ".join(map(fixed, scores)))
        for question in (RANKING, AS_TRAINED, CONTROL, TUNED):
            counts = study.verdicts(group, question, here)
            cells.append(" / ".join(str(counts[verdict]) for verdict in VERDICTS))
        rows.append(cells)
    headings = ["overlap", "imbalance", *(f"none, `{model}`" for model in models), "macro-AUC"]
    headings += ["macro-F1 as trained", "against `tuned_plain`", "both tuned"]
    return markdown(headings, rows, words=2)


def single_test_table(study: Study, part: str) -> str:
    """Differences from none on one test set, trained once, with bootstrap intervals over its lesions."""
    found = study.collected.intervals
    found = found[found["part"] == part]
    results = study.collected.results
    none = results[(results["part"] == part) & (results["sampler"] == "none")]
    rows = []
    for (model, method), own in found.groupby(["model", "sampler"], sort=False):
        by_metric = own.set_index("metric")
        plain = none[none["model"] == model].iloc[0]
        cells = [f"`{model}`", str(method)]
        for metric in ("macro_f1", "balanced_accuracy", "recall_mel"):
            row = by_metric.loc[metric]
            cells.append(f"{signed(row['value'])} [{signed(row['low'])}, {signed(row['high'])}]")
        cells.append(fixed(plain["as_trained.macro_f1"]))
        rows.append(cells)
    headings = ["model", "method", "macro-F1", "balanced accuracy", "melanoma recall", "macro-F1 of none"]
    return markdown(headings, rows, words=2)


def claims_table(study: Study, group: str) -> str:
    """Claims of the literature beside the comparisons that bear on them."""
    rows = [
        [claim.paper, claim.text, claim.evidence(study, group), claim.seen(study, group)] for claim in CLAIMS
    ]
    return markdown(["paper", "claim", "here, beside none", "seen here?"], rows, words=4)


def failures_table(study: Study) -> str:
    """Every failure with its reason, grouped; or a sentence that there is none."""
    found = list(failures(study.collected.results))
    if not found:
        return "No cell failed."
    rows = [
        [part, sampler, f"`{model}`", reason, str(cells)] for part, sampler, model, reason, cells in found
    ]
    return markdown(["part", "method", "model", "reason", "cells"], rows, words=4)
