"""Reports of runs that nobody trained, and what can be asked of a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fake_runs import fake_run, make_run, record
from recomputed import by_fold, expected_comparisons, folder, of_lesions, page, rows, tuned

from skinmnist.analysis.analyze import Analysis, analyze
from skinmnist.experiment.run_folder.record import RunRecord, write_tables
from skinmnist.reporting.page import write_report

__all__ = [
    "by_fold",
    "expected_comparisons",
    "fake_run",
    "folder",
    "make_run",
    "of_lesions",
    "page",
    "record",
    "rows",
    "tuned",
]


@pytest.fixture(scope="session")
def analysis(record: RunRecord) -> Analysis:
    """The analysis of the finished run, of few replicates."""
    return analyze(record, draws=20)


@pytest.fixture(scope="session")
def html(fake_run: Path, record: RunRecord) -> str:
    """The page of the finished run, written into its folder with all tables."""
    write_tables(record)
    return write_report(fake_run).read_text(encoding="utf-8")


VOID = {"meta", "link", "img", "source", "br", "hr"}


class Page(HTMLParser):
    """What the tests ask of a page; unbalanced tags raise."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    """Text of a page -> what can be asked of it."""
    return Page


@pytest.fixture(scope="session")
def sections() -> list[str]:
    """The sections of every report, in order."""
    return [
        "tradeoff",
        "leaderboard",
        "sure",
        "recall",
        "finding-more",
        "checks",
        "equal-terms",
        "verdicts",
        "prior-correction",
        "costs",
        "confusion",
        "mistakes",
        "label-audit",
        "ranking",
        "calibration",
        "samplers",
        "curves",
        "data",
        "split",
        "take-along",
        "glossary",
        "notes",
        "reproduce",
    ]


def give_verdicts(analysis: Analysis, verdicts: dict[tuple[str, str], str], **values: Any) -> Analysis:
    """Give the comparisons with ``none`` other verdicts; the rest are undecided."""
    frame = analysis.comparisons.copy()
    frame["verdict"] = "undecided"
    for (sampler, model), verdict in verdicts.items():
        frame.loc[(frame["sampler"] == sampler) & (frame["model"] == model), "verdict"] = verdict
    return replace(analysis, comparisons=frame.assign(**values))


@pytest.fixture(scope="session")
def with_verdicts() -> Callable[..., Analysis]:
    return give_verdicts
