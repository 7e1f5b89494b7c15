"""The section of a preset: the published claim, the score under its protocol, and the honest score."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import pandas as pd

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.significance import AS_TRAINED, exchanged
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.presets.claims import Claims, read_claims
from skinmnist.reporting.format import evidence, fixed, model_title, signed
from skinmnist.reporting.theme import Embedded, embed_strip

_NAMES = {
    "accuracy": "Accuracy",
    "precision": "Precision (micro, at 0.5)",
    "recall": "Recall (micro, at 0.5)",
    "macro_f1": "Macro-F1",
    "loss": "Cross-entropy",
}

#: The scores on which variants are compared with the page's own network.
_PAIRED = ("accuracy", "macro_f1")


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of a preset; ``claims`` is None if the run is not a preset run."""
    info = analysis.record.info
    found = read_claims(analysis.record.folder, info)
    if found is None:
        return {"claims": None}
    return {
        "claims": found.about | {"sampler": found.scores["sampler"].iloc[0]},
        "claim_rows": _rows(found),
        "claims_answer": _answer(found),
        "claim_pairs": paired_words(info, analysis.comparisons, found.about["networks"]),
        "augmented": _pictures(found),
    }


def paired_words(info: RunInfo, comparisons: pd.DataFrame, networks: Collection[str]) -> list[str]:
    """Describe what each variant of a page's network changes on the same folds of the honest run.

    There is one sentence for each sampler, variant and score of `_PAIRED`. Differences are the variant's
    score minus that of the page's network, which is the first of `networks`.
    """
    own, *variants = networks
    rows = comparisons[
        (comparisons["question"] == "model")
        & (comparisons["rule"] == AS_TRAINED)
        & (comparisons["model"] == own)
        & comparisons["against"].isin(variants)
        & comparisons["metric"].isin(_PAIRED)
    ]
    rows = rows.sort_values(["sampler", "against"], kind="stable")
    return [_pair_words(info, row) for row in exchanged(rows).to_dict("records")]


def _pair_words(info: RunInfo, row: Any) -> str:
    sampler = "no sampler" if row["sampler"] == "none" else row["sampler"]
    return (
        f"{model_title(info, row['model'])} against {model_title(info, row['against'])}, {sampler}: "
        f"{_NAMES[row['metric']]} {signed(row['difference'])}, {row['verdict']} ({evidence(row)})"
    )


def _rows(found: Claims) -> list[dict[str, str]]:
    titles = found.about["networks"]
    return [
        {
            "network": titles.get(row["network"], row["network"]),
            "metric": _NAMES[row["metric"]],
            **{name: _text(row[name]) for name in ("claimed", "as_published", "honest")},
        }
        for row in found.scores.to_dict("records")
    ]


def _text(value: float) -> str:
    return "" if math.isnan(value) else fixed(value)


def _answer(found: Claims) -> str:
    """Describe the gaps between the claim, the page's protocol and the honest one in the table's numbers."""
    parts = []
    for row in found.scores[found.scores["metric"] == "accuracy"].to_dict("records"):
        title = found.about["networks"].get(row["network"], row["network"])
        if not math.isnan(row["claimed"]):
            parts.append(f"The page claims an accuracy of {fixed(row['claimed'])}.")
        published, honest = (_accuracy(row[name]) for name in ("as_published", "honest"))
        parts.append(f"{title}: as published {published}, in the honest protocol {honest}.")
    if found.about["differences"]:
        parts.append("What differs between the two: " + "; ".join(found.about["differences"]) + ".")
    else:
        parts.append("The page's protocol has none of the leaks that are checked for, so the two agree.")
    return " ".join(parts)


def _accuracy(value: float) -> str:
    return "has not been finished" if math.isnan(value) else f"an accuracy of {fixed(value)}"


def _pictures(found: Claims) -> list[Embedded]:
    """Return one strip per picture: the original first, then its transformed versions."""
    if found.augmented is None:
        return []
    alt = "A training picture, and behind it the same changed at random, as training sees it"
    return [embed_strip(versions, alt) for versions in found.augmented]
