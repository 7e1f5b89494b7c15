"""Effects of each sampler on ranking, on decisions as trained, and at equal operating points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.effects import MEASURED, Effect, effects
from skinmnist.analysis.significance import BETTER, WORSE
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    LABELS,
    NOTHING,
    chance,
    ends,
    listing,
    model_title,
    pair_title,
    sampler_title,
    signed,
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


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of this section."""
    found, info = effects(analysis.comparisons), analysis.record.info
    return {
        "effect_labels": [LABELS[metric] for _, metric in MEASURED],
        "effects": effect_rows(info, found),
        "effects_summary": summary(found, partial(pair_title, info)),
    }


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
    """Group pairs by conclusion: ``SMOTE with svm: moved the threshold only.``."""
    together: dict[str, list[str]] = {}
    for effect in found:
        together.setdefault(effect.conclusion, []).append(title(effect.sampler, effect.model))
    return [f"{listing(pairs)}: {words}." for words, pairs in together.items()]
