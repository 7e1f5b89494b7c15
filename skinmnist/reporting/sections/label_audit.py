"""Possible label errors: the pictures whose labels the models doubt most."""

from __future__ import annotations

from typing import Any

import numpy as np

from skinmnist.analysis.analyze import Analysis
from skinmnist.experiment.label_audit import MOST_DOUBTED
from skinmnist.reporting.format import percent
from skinmnist.reporting.theme import embed_strip


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of this section."""
    audit = analysis.label_audit
    doubted = audit[audit["doubted"].astype(bool)]
    return {"doubted": len(doubted), "audited": len(audit), "suspects": _suspects(analysis)}


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
