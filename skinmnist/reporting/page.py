"""The page: the sections and style of a report, assembled into one self-contained file."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from skinmnist import facts
from skinmnist.analysis.analyze import SENT_ROWS, Analysis, analyze, analyze_run
from skinmnist.datasets.files import check_replaceable, write_atomically
from skinmnist.errors import InputError
from skinmnist.experiment.cells import MIXED
from skinmnist.experiment.execution.local import run_in_background
from skinmnist.experiment.execution.worker import uncollected
from skinmnist.experiment.metrics import COST_METRICS, METRIC_TITLES
from skinmnist.experiment.run_folder.folder import REPORT_FILE
from skinmnist.experiment.run_folder.record import RunRecord, read_run
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    LABELS,
    added_columns,
    base_model,
    clinical_columns,
    count,
    duration,
    ensembles,
    listing,
    pair_title,
    unbroken,
)
from skinmnist.reporting.methods import Methods
from skinmnist.reporting.sections import (
    answer,
    certainty,
    costs,
    data,
    inflated,
    leaderboard,
    outcomes,
    probabilities,
    shares,
    tradeoff,
    training,
)
from skinmnist.reporting.tables import read_page
from skinmnist.reporting.theme import css_variables
from skinmnist.text import printable, template_environment

#: Each section is a module with a `context` function and a template; the page template sets their order.
SECTIONS = (answer, tradeoff, shares, leaderboard, certainty, costs, training, inflated)
#: Sections of the page that is written while the run goes on.
EARLY_SECTIONS = (answer, tradeoff, leaderboard)
#: Sections that a worker can draw in parallel, as much work as the others.
DRAWN_APART = (data, outcomes, probabilities)
_HERE = Path(__file__).parent
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_STYLES = ("style.css", "tables.css")
_SCRIPTS = ("report.js", "tables.js")
#: Placeholder in the templates for the tables in other formats.
_EXPORTS = "<!-- exports -->"


def is_page(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a report or a side-by-side page."""
    return b'<meta name="generator" content="skinmnist ' in head or "· skinmnist</title>".encode() in head


def write_report(run: RunRecord | Path | str, out: Path | str | None = None, jobs: int = 1) -> Path:
    """Write the ``report.html`` of a run and the tables of its analysis, without training.

    Parameters
    ----------
    run : Run or path
        The result of `run_comparison`, or the folder of a finished or unfinished comparison.
    out : path, optional
        Output location, by default the run folder. With a folder, the page and the tables are written there;
        with an ``.html`` file, only the page is written. In both cases, the run folder stays unchanged.
    jobs : int
        Number of processes. With two or more, a worker draws half of the figures; the output is identical.

    Returns
    -------
    Path
        Path of the report.

    Raises
    ------
    InputError
        If the folder contains no run, if the report cannot be written or would overwrite the user's files,
        or if the run has no folder and `out` is missing.

    Examples
    --------
    >>> from skinmnist import make_lesions, run_comparison, write_report
    >>> run = run_comparison(make_lesions(120, size=8), ["none"], ["dummy"], folds=2, jobs=1)
    >>> write_report(run, "report.html")  # doctest: +SKIP
    PosixPath('report.html')
    """
    record = run if isinstance(run, RunRecord) else read_run(run)
    if out is None and record.in_memory:
        raise InputError(
            "this run has no folder; name a file for its report, as in write_report(run, 'a.html')"
        )
    path = _page_path(record.folder if out is None else Path(out))
    known: Analysis | None = getattr(record, "analysis", None)
    if out is None or path != Path(out):
        return write_page(analyze_run(record, path.parent, known, jobs), path, jobs)
    check_replaceable(path, is_page)
    return write_page(known or analyze(record, jobs=jobs), path, jobs)


def write_page(analysis: Analysis, out: Path | None = None, jobs: int = 1) -> Path:
    """Write the page of an analysis to its run folder, or to another folder or file."""
    path = _page_path(analysis.record.folder if out is None else out)
    return write_html(path, render_page(analysis, jobs))


def write_early_page(analysis: Analysis, finished: int, planned: int) -> Path:
    """Write the first page of a run that goes on, after `finished` of the folds `planned` of every pair.

    It has only `EARLY_SECTIONS`, for it takes time from the cells that run meanwhile. The report of the
    finished run replaces it.
    """
    with uncollected():
        early = {"early": (finished, planned)}
        shown = _page_context(analysis) | _contexts(EARLY_SECTIONS, analysis) | early
        page = environment().get_template("report.html").render(shown)
    return write_html(_page_path(analysis.record.folder), with_exports(page))


def write_html(path: Path, page: str) -> Path:
    """Write a page and return its path; raise InputError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode())
    except OSError as error:
        raise InputError(
            f"the page cannot be written into {path.parent} ({error.strerror}); name another folder or file "
            "with `skinmnist report RUN --out PATH`"
        ) from None
    return path


def _page_path(target: Path) -> Path:
    """Return the path of a page: `target` if it has the suffix of a page, else a file in that folder."""
    alone = target.suffix.lower() in (".html", ".htm") and not target.is_dir()
    return target if alone else target / REPORT_FILE


def render_page(analysis: Analysis, jobs: int = 1) -> str:
    """Return the report as one self-contained page; equal analyses give equal bytes."""
    apart = _draw_apart(analysis, jobs)
    with uncollected():
        shown = _page_context(analysis) | _contexts(SECTIONS, analysis)
        return with_exports(environment().get_template("report.html").render(shown | apart()))


def with_exports(page: str) -> str:
    """Embed the page's tables in the formats that its buttons copy."""
    formats = [
        {"csv": table.to_csv(), "markdown": table.to_markdown(), "latex": table.to_latex()}
        for table in read_page(page)[0]
    ]
    # Tables are repetitive and compress to a tenth. Without a timestamp, the bytes are reproducible.
    packed = gzip.compress(json.dumps(formats).encode(), mtime=0)
    return page.replace(_EXPORTS, base64.b64encode(packed).decode(), 1)


def _draw_apart(analysis: Analysis, jobs: int) -> Callable[[], dict[str, Any]]:
    """Start drawing some sections, in a worker if `jobs` allows; return a function that waits for them."""
    if jobs < 2 or len(analysis.record.predictions) > SENT_ROWS:
        return partial(_context_apart, analysis)
    # Send a copy: values cached here in the meantime must not change it.
    return run_in_background(_context_apart, replace(analysis), jobs=jobs)


def _context_apart(analysis: Analysis) -> dict[str, Any]:
    with uncollected():
        return _contexts(DRAWN_APART, analysis)


def _contexts(sections: Sequence[ModuleType], analysis: Analysis) -> dict[str, Any]:
    return {name: value for section in sections for name, value in section.context(analysis).items()}


def _page_context(analysis: Analysis) -> dict[str, Any]:
    """Return the values that several sections share, and those at the end of the page."""
    info = analysis.record.info
    return surroundings() | {
        "early": None,
        "lesions_known": analysis.lesions_known,
        "units": certainty.resampled_units(analysis),
        "info": info,
        "table": info.table,
        "protocol": info.protocol,
        "repeats": info.repeats,
        "grid": info.grid,
        "trained": sum(not base_model(info, name) for name in info.grid.models) - len(ensembles(info)),
        "ensembles": ensembles(info),
        "by_lesion": analysis.record.scored_lesions is not None,
        "clinical": listing(clinical_columns(info)),
        "added_columns": added_columns(info),
        "finished": bool(analysis.record.results),
        "methods": Methods(analysis),
        "glossary": [
            (LABELS[name], text)
            for name, text in (METRIC_TITLES | (COST_METRICS if info.costs else {})).items()
        ],
        "samplers_counted": samplers_counted(info.grid.samplers),
        "notes": notes(analysis.record),
        "machine": machine(info),
        "validated": any(result.validation is not None for result in analysis.record.results),
    }


def samplers_counted(names: Sequence[str]) -> str:
    """Count samplers, with training without one counted separately: ``no sampler and 2 samplers``."""
    others = sum(name not in ("none", MIXED) for name in names)
    parts = ["no sampler"] * ("none" in names) + [count(others, "sampler")] * bool(others)
    return " and ".join(parts)


def notes(record: RunRecord) -> list[dict[str, Any]]:
    """Return how cells deviated from the plan: each note once, with its number of cells and their pairs.

    Notes of one pair whose numbers differ by 1 % or less are one, with ranges.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for result in record.results:
        for note in result.notes:
            pair = pair_title(record.info, result.cell.sampler, result.cell.model)
            alike.setdefault((pair, _NUMBER.sub("#", note)), []).append(note)
    seen: dict[str, list[str]] = {}
    for (pair, _), found in alike.items():
        for note in _with_ranges(found):
            seen.setdefault(note, []).append(pair)
    return [
        {"note": note, "cells": len(pairs), "pairs": ", ".join(dict.fromkeys(pairs))}
        for note, pairs in seen.items()
    ]


def _with_ranges(found: list[str]) -> list[str]:
    """Return notes that differ in numbers only with the range of each number, if it is narrow."""
    ranges = []
    for column in zip(*map(_NUMBER.findall, found), strict=True):
        ordered = sorted(set(column), key=_value)
        if _value(ordered[-1]) > 1.01 * _value(ordered[0]):
            return found
        ranges.append("–".join(dict.fromkeys((ordered[0], ordered[-1]))))
    texts = iter(ranges)
    return [_NUMBER.sub(lambda _: next(texts), found[0])] * len(found)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def machine(info: RunInfo) -> list[tuple[str, str]]:
    """Return the hardware, software and cost of the run, as far as they were recorded."""
    hardware, measure = info.hardware, f" ({info.memory_measure})" if info.memory_measure else ""
    entries: dict[str, Any] = {
        "Started": info.started.replace("T", " "),
        "Wall clock": info.wall_seconds is not None and duration(info.wall_seconds),
        "Worker processes": info.jobs and str(info.jobs),
        "Peak memory": info.peak_memory_mb is not None and f"{info.peak_memory_mb:,.0f} MB{measure}",
        "Processor": hardware.cores and f"{hardware.cpu}, {count(hardware.cores, 'core')}",
        "Memory": hardware.memory_gb and f"{hardware.memory_gb:.1f} GB",
        "Networks compute in": hardware.network_precision,
        "System": hardware.system,
    }
    return [(name, text) for name, text in entries.items() if text]


def surroundings() -> dict[str, Any]:
    """Return the style and script that every page shares."""
    return {
        "style": Markup(
            css_variables() + "".join((_HERE / name).read_text(encoding="utf-8") for name in _STYLES)
        ),
        "script": Markup("".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)),
        "disclaimer": facts.DISCLAIMER,
    }


@cache
def environment() -> Environment:
    """Return the template environment, which escapes text from the run and makes it printable."""
    templates = template_environment(_HERE, _printable)
    templates.filters["counted"] = count
    templates.filters["unbroken"] = unbroken
    return templates


def _printable(value: Any) -> Any:
    return printable(value, None) if isinstance(value, str) and not isinstance(value, Markup) else value
