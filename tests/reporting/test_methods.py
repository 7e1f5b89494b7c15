"""The paragraph of methods and its references."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import pandas as pd
import pytest

from skinmnist.models.registry import MODELS
from skinmnist.reporting.methods import Methods, _entries, _tags
from skinmnist.reporting.page import render_page
from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES


def test_numbers_are_those_of_the_predictions(analysis: Any) -> None:
    text = Methods(analysis).markdown
    info, rows = analysis.record.info, analysis.record.predictions
    once = rows[(rows["sampler"] == rows["sampler"].iloc[0]) & (rows["model"] == rows["model"].iloc[0])]
    counts = once["label"].value_counts()
    assert f"{len(once):,} pictures of {info.table.lesions:,} lesions in {len(counts)} classes" in text
    assert f"the largest class has {counts.max():,} pictures and the smallest {counts.min():,}" in text
    assert f"{once['fold'].nunique()}-fold cross-validation" in text
    assert f"(seed {info.seed})" in text


def test_everything_that_is_cited_has_its_entry_and_the_other_way_round(analysis: Any) -> None:
    methods = Methods(analysis)
    cited = set(re.findall(r"@([\w]+)", methods.markdown))
    assert cited == set(re.findall(r"^@\w+\{(\w+),", methods.bibtex, flags=re.MULTILINE))
    assert cited == {
        key for group in re.findall(r"\\cite\{(.*?)\}", methods.latex) for key in group.split(",")
    }
    assert {"chawla2002smote", "nadeau2003inference", "skinmnist"} <= cited
    assert "lin2017focal" not in cited
    assert f"Version {analysis.record.info.skinmnist}" in methods.bibtex


@pytest.mark.usefixtures("bare_figures")
def test_the_page_shows_the_lines_of_the_bibliography(analysis: Any) -> None:
    page = unescape(render_page(analysis))
    assert Methods(analysis).bibtex.strip() in page


def test_tags_name_what_there_is() -> None:
    tags = [tag.split(":") for entry in _entries().values() for tag in _tags(entry)]
    assert all(_tags(entry) for entry in _entries().values())
    for kind, known in (("sampler", {**SAMPLERS, **STRATEGIES}), ("model", MODELS)):
        assert {name for found, name in tags if found == kind} <= set(known)


def test_a_run_of_which_nothing_finished_still_has_a_paragraph(analysis: Any) -> None:
    nothing = pd.DataFrame(columns=analysis.comparisons.columns)
    bare = replace(analysis, comparisons=nothing, intervals=analysis.intervals.iloc[:0])
    text = Methods(bare).markdown
    assert "paired by fold" not in text
    assert "resample" not in text.replace("resampled", "")


def test_costs_and_sets_are_cited_where_they_are_used(analysis: Any) -> None:
    assert "Conformal" not in Methods(analysis).markdown
    info = replace(analysis.record.info, costs=((0.0, 1.0), (1.0, 0.0)), conformal=0.05)
    asked = replace(analysis, record=replace(analysis.record, info=info))
    text = Methods(asked).markdown
    assert "miss at most 5 % of its pictures [@ding2023class; @vovk2012conditional; @vovk2015cross]" in text
    assert "smallest expected cost at the natural class frequencies [@elkan2001foundations]" in text
