"""The section of a preset: what its page claims, what its way of doing it gives, and what is honest."""

from __future__ import annotations

import math
from typing import Any

from skinmnist.evaluation.claims import Claims, read_claims
from skinmnist.evaluation.record import RunRecord
from skinmnist.reporting.embed import Embedded, embed_strip
from skinmnist.reporting.naming import fixed

_NAMES = {
    "accuracy": "Accuracy",
    "precision": "Precision (micro, at 0.5)",
    "recall": "Recall (micro, at 0.5)",
    "macro_f1": "Macro-F1",
    "loss": "Cross-entropy",
}


def claims_view(record: RunRecord) -> dict[str, Any]:
    """Return what the template prints of a preset; ``claims`` is None where the run is none of one.

    Raises
    ------
    InputError
        Where what the preset left in the run folder is damaged.
    """
    found = read_claims(record.folder, record.info["protocol"])
    if found is None:
        return {"claims": None}
    return {
        "claims": found.about | {"sampler": found.scores["sampler"].iloc[0]},
        "claim_rows": _rows(found),
        "claims_answer": _answer(found),
        "augmented": _pictures(found),
    }


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
    """Say how far claim, page and honest protocol are from each other, in the numbers of the table."""
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
        parts.append("The page's protocol has no leak of those that are looked for, so the two agree.")
    return " ".join(parts)


def _accuracy(value: float) -> str:
    return "has not been finished" if math.isnan(value) else f"an accuracy of {fixed(value)}"


def _pictures(found: Claims) -> list[Embedded]:
    """Return one strip a picture: first as it is, then its changed versions."""
    if found.augmented is None:
        return []
    alt = "A training picture, and behind it the same changed at random, as training sees it"
    return [embed_strip(versions, alt) for versions in found.augmented]
