"""The end of the page: glossary, notes of the run, and how to reproduce it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from skinmnist.analysis.analyze import Analysis
from skinmnist.experiment.metrics import METRIC_TITLES
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import LABELS, count, duration, pair_title


def context(analysis: Analysis) -> dict[str, Any]:
    """Return what the sections show."""
    return {
        "glossary": [(LABELS[name], text) for name, text in METRIC_TITLES.items()],
        "notes": notes(analysis.record).to_dict("records"),
        "machine": machine(analysis.record.info),
    }


def notes(record: RunRecord) -> pd.DataFrame:
    """Return how cells deviated from the plan: ``note, cells, pairs``, each note once."""
    seen: dict[str, list[str]] = {}
    for result in record.results:
        for note in result.notes:
            pair = pair_title(record.info, result.cell.sampler, result.cell.model)
            seen.setdefault(note, []).append(pair)
    records = [(note, len(pairs), ", ".join(dict.fromkeys(pairs))) for note, pairs in seen.items()]
    return pd.DataFrame(records, columns=["note", "cells", "pairs"])


def machine(info: RunInfo) -> list[tuple[str, str]]:
    """Return what the run ran on and what it cost, as far as the record says."""
    hardware = info.hardware
    entries = [("Started", info.started.replace("T", " "))]
    if info.wall_seconds is not None:
        entries.append(("Wall clock", duration(info.wall_seconds)))
    if info.jobs is not None:
        entries.append(("Worker processes", str(info.jobs)))
    if info.peak_memory_mb is not None:
        measure = info.memory_measure
        entries.append(
            ("Peak memory", f"{info.peak_memory_mb:,.0f} MB" + (f" ({measure})" if measure else ""))
        )
    if hardware.cores:
        entries.append(("Processor", f"{hardware.cpu}, {count(hardware.cores, 'core')}"))
    if hardware.memory_gb:
        entries.append(("Memory", f"{hardware.memory_gb:.1f} GB"))
    if hardware.network_precision:
        entries.append(("Networks compute in", hardware.network_precision))
    entries.append(("System", hardware.system))
    return [(name, text) for name, text in entries if text]
