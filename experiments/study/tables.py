"""The tables of docs/study.md as Markdown, each from the committed results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    GROUPS,
    LOSS_NATURAL,
    RANKING,
    TUNED,
    TUNED_BALANCED,
    VERDICTS,
    Study,
    on_table,
)

from skinmnist import facts
from skinmnist.analysis.significance import joined
from skinmnist.reporting.format import fixed, signed

#: Methods shown where all would be too many.
MAIN = (
    "none", "tuned_plain", "class_weight", "RandomOverSampler", "SMOTE", "RandomUnderSampler", "sqrt_batches",
    "balanced_batches",
)  # fmt: skip
_ENDS = ("value", "low", "high")
#: Scores as trained that are shown of a single test set.
_SINGLE = {"macro_f1": "macro-F1", "recall_mel": "melanoma recall"}


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
                    ", ".join(f"`{name}`" for name in dict.fromkeys(cells["model"])),
                    str(cells["sampler"].nunique()),
                    folds,
                    str(first["seed"]),
                    f"{own['done'].sum():,}",
                    str(own["failed"].sum()),
                    f"{own['core_seconds'].sum() / 3600:.2f}",
                ]
            )
    total = [f"**{parts['done'].sum():,}**", f"**{parts['failed'].sum()}**", f"**{study.core_hours:.2f}**"]
    rows.append(["**all**", "", "", "", "", *total])
    headings = [
        "part",
        "models",
        "methods",
        "folds × repeats",
        "seed",
        "cells done",
        "failed",
        "core-hours",
    ]
    return markdown(headings, rows, words=2)


def verdict_table(study: Study, groups: Sequence[str]) -> str:
    """How many methods are better, equal, undecided and worse, by table, model and question."""
    asked = (RANKING, AS_TRAINED, AS_TRAINED_BALANCED, CONTROL, TUNED, TUNED_BALANCED)
    rows = []
    for group in groups:
        for model in study.models(group):
            counts = [study.verdicts(group, question, [model]) for question in asked]
            rows.append([GROUPS[group], f"`{model}`", *map(_slashed, counts)])
    rows.append(["**all**", "", *(_slashed(study.verdicts(groups, question)) for question in asked)])
    headings = ["table", "model", "macro-AUC, natural", "macro-F1 as trained", "balanced accuracy as trained"]
    headings += ["macro-F1 as trained against `tuned_plain`", "macro-F1, both tuned"]
    headings += ["balanced accuracy, both tuned"]
    return markdown(headings, rows, words=2)


def _slashed(counts: dict[str, int]) -> str:
    return " / ".join(str(counts[verdict]) for verdict in VERDICTS)


def method_table(study: Study, groups: Sequence[str]) -> str:
    """One row for each method: ranges over tables and models of changes in calibration, and cost."""
    asked = (ECE, ECE_NATURAL, LOSS_NATURAL)
    found = [joined([study.compare(group, question) for group in groups]) for question in asked]
    # The earlier runs shared the machine with too much else.
    seconds = [study.seconds(group) for group in groups if not group.endswith("networks")]
    free = [
        joined([study.free_control(group, question) for group in groups])["difference"] for question in asked
    ]
    rows = [["tuned_plain", str(len(free[0])), *map(span, free), "–"]]
    for method in study.all_methods(groups):
        if "@" in method:
            continue  # The page says so; results.csv has them.
        changes = [frame.loc[frame["sampler"] == method, "difference"] for frame in found]
        rows.append([method, str(len(changes[0])), *map(span, changes), _cost(seconds, method)])
    headings = ["method", "pairs", "ECE as trained", "ECE natural", "log loss natural", "seconds, times none"]
    return markdown(headings, rows)


def span(values: pd.Series) -> str:
    """Return the smallest and the largest of some differences."""
    low, high = (signed(value) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _cost(seconds: Sequence[pd.DataFrame], method: str) -> str:
    """Return the range over tables and models of the median seconds of a cell, relative to none."""
    known = [frame[method] / frame["none"] for frame in seconds if method in frame]
    if not known:
        return "–"
    ratios = pd.concat(known).dropna()
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


def _melanoma_recall(
    study: Study, group: str, model: str, methods: Sequence[str], fewest: int
) -> pd.DataFrame:
    found = _subgroups(study, group, model, methods)
    enough = (found["metric"] == "recall_mel") & (found["cases"] >= fewest) & (found["group"] != "unknown")
    return found[enough]


def _subgroups(study: Study, group: str, model: str, methods: Sequence[str]) -> pd.DataFrame:
    found, parts = study.collected.subgroups, study.parts
    own = found["part"].isin(parts.loc[parts["group"] == group, "part"]) & (found["model"] == model)
    return found[own & found["sampler"].isin(methods)]


def subgroup_table(study: Study, group: str, model: str, methods: Sequence[str], fewest: int = 40) -> str:
    """Melanoma recall and accuracy by group of patients, for one model."""
    found = _subgroups(study, group, model, methods)
    mel = _melanoma_recall(study, group, model, methods, fewest)
    rows = []
    for (column, name), of_group in mel.groupby(["column", "group"], sort=False):
        recalls = of_group.set_index("sampler").reindex(methods)
        cells = [f"{column}: {name}", str(int(of_group["cases"].iloc[0]))]
        cells += [_with_ends(recalls.loc[method]) for method in methods]
        accuracy = found[
            found["metric"].eq("accuracy") & found["column"].eq(column) & found["group"].eq(name)
        ]
        accuracy = accuracy.set_index("sampler").reindex(methods)
        cells += [fixed(accuracy.loc[method, "value"], 2) for method in methods]
        rows.append(cells)
    headings = ["group", "melanomas", *(f"recall, {name}" for name in methods)]
    headings += [f"accuracy, {name}" for name in methods]
    return markdown(headings, rows)


def _with_ends(row: pd.Series) -> str:
    return "{} [{}, {}]".format(*(fixed(row[name], 2) for name in _ENDS))


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
            cells.append(_slashed(study.verdicts(group, question, here)))
        rows.append(cells)
    headings = ["overlap", "imbalance", *(f"none, `{model}`" for model in models), "macro-AUC"]
    headings += ["macro-F1 as trained", "against `tuned_plain`", "both tuned"]
    return markdown(headings, rows, words=2)


def single_test_table(study: Study, part: str) -> str:
    """Differences from none on one test set, trained once, with bootstrap intervals over its lesions."""
    found = study.collected.intervals
    found = found[found["part"] == part].set_index(["sampler", "model", "metric"])
    models = list(dict.fromkeys(found.index.get_level_values("model")))
    shown = [(model, metric) for model in models for metric in _SINGLE]
    rows = []
    for method in dict.fromkeys(found.index.get_level_values("sampler")):
        if "@" in method:
            continue
        own = found.reindex([(method, model, metric) for model, metric in shown])
        ends = [[signed(row[name]) for name in _ENDS] for row in own.to_dict("records")]
        rows.append([str(method), *(f"{value} [{low}, {high}]" for value, low, high in ends)])
    headings = ["method", *(f"{title}, `{model}`" for model in models for title in _SINGLE.values())]
    return markdown(headings, rows)


def claims_table(study: Study, groups: Sequence[str]) -> str:
    """Claims of the literature beside the comparisons that bear on them."""
    rows = [
        [claim.paper, claim.text, claim.evidence(study, groups), claim.seen(study, groups)]
        for claim in CLAIMS
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
