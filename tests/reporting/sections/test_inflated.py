"""The section of leaks: present only where leaks were demonstrated, apart from every score."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from described import invent_info

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.significance import compare_models, corrected_t_test
from skinmnist.analysis.summaries import leaderboard
from skinmnist.leakage.leaks import LEAK_COLUMNS, LEAKS
from skinmnist.reporting.page import render_page
from skinmnist.reporting.sections.inflated import paired_words

TITLES = {"svm": "Support <vector> machine"}


@pytest.fixture
def leaky_run(make_run):
    """A run with a demonstration in its folder."""
    record = make_run(models={"svm": {"title": "SVM", "space": "pixels"}}, n_rows=100)
    records = [
        (leak.key, "SMOTE" if not place else "none", "svm", metric, 0.9871 - place / 10, 0.4321)
        for place, leak in enumerate(LEAKS)
        for metric in ("macro_f1", "accuracy", "macro_auc")
    ]
    pd.DataFrame(records, columns=list(LEAK_COLUMNS)).to_csv(record.folder / "leaks.csv", index=False)
    protocol = {name: getattr(record.info.protocol, name) for name in ("data", "folds", "seed", "rows")}
    (record.folder / "leaks").mkdir()
    notes = {"protocol": protocol, "notes": ["left out: <cnn>"], "titles": TITLES}
    (record.folder / "leaks" / "leaks.json").write_text(json.dumps(notes))
    return record


def section(page, name):
    return page.partition(f'<section id="{name}">')[2].partition("<section id=")[0]


@pytest.mark.usefixtures("bare_figures")
def test_leaks_stand_in_their_section_and_nowhere_else(leaky_run):
    page = render_page(analyze(leaky_run, draws=10))
    leaks = section(page, "leaks")
    for leak in LEAKS:
        assert leak.title in leaks
        assert leak.wrong in leaks
    assert "0.432" in leaks
    for leaky in ("0.987", "+0.555", "+0.455"):
        assert leaky in leaks
        assert leaky not in page.replace(leaks, "")
    assert "Left out: &lt;cnn&gt;." in leaks
    assert "Support &lt;vector&gt; machine" in leaks
    assert "<vector>" not in page
    assert 'href="#leaks"' in page
    assert "Wrong on purpose" in leaks
    assert 0.9871 not in leaderboard(leaky_run).select_dtypes("number").to_numpy()


@pytest.mark.usefixtures("bare_figures")
def test_a_demonstration_of_another_run_is_not_shown(leaky_run):
    info = replace(leaky_run.info, protocol=replace(leaky_run.info.protocol, seed=8))
    page = render_page(analyze(replace(leaky_run, info=info), draws=10))
    assert 'id="leaks"' not in page
    assert "#leaks" not in page


ACCURACIES = {"net": [0.70, 0.72, 0.71], "net_normalised": [0.66, 0.67, 0.68]}
INFO = invent_info(
    grid={"samplers": [], "models": {"net": {"title": "Net"}, "net_normalised": {"title": "Net, normalised"}}}
)


@pytest.fixture
def comparisons():
    rows = [
        {"sampler": "none", "model": model, "repeat": 0, "fold": fold, "metric": "accuracy", "value": value}
        for model, values in ACCURACIES.items()
        for fold, value in enumerate(values)
    ]
    return compare_models(pd.DataFrame(rows), folds=3)


def test_a_variant_is_held_against_the_network_of_the_page(comparisons):
    (words,) = paired_words(INFO, comparisons, ["net", "net_normalised"])
    test = corrected_t_test(np.subtract(ACCURACIES["net_normalised"], ACCURACIES["net"]), 1 / 2)
    assert words.startswith("Net, normalised against Net, no sampler: Accuracy −0.040, ")
    ends = [f"{end:+.3f}".replace("-", "−") for end in (test.low, test.high)]
    assert f"worse (95 % interval over 3 folds from {ends[0]} to {ends[1]}, p = {test.p:.3f})" in words


def test_without_variants_nothing_is_said(comparisons):
    assert paired_words(INFO, comparisons, ["net"]) == []
    assert paired_words(INFO, comparisons.iloc[:0], ["net", "net_normalised"]) == []
