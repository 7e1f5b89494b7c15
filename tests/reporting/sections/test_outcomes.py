"""Confusion matrices, and groups of patients."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_fake_run

from skinmnist.analysis.summaries import confusion_counts
from skinmnist.experiment.run_folder.record import PATIENTS_FILE, RunRecord
from skinmnist.reporting.page import write_report
from skinmnist.reporting.sections.outcomes import confusion_figure

N_ROWS = 400


ONE_MODEL = {"svm": {"title": "SVM", "space": ""}}


@pytest.fixture(scope="module")
def page(tmp_path_factory, read_page, undrawn):
    """The report of a run whose folder tells of the patients, and the folder."""
    folder = tmp_path_factory.mktemp("patients")
    write_fake_run(folder, samplers=["none"], models=ONE_MODEL, n_rows=N_ROWS, folds=2)
    random = np.random.default_rng(5)
    np.savez(
        folder / PATIENTS_FILE,
        age=random.choice([20.0, 50, 70, np.nan], N_ROWS, p=[0.02, 0.4, 0.48, 0.1]),
        sex=random.choice(["male", "female <b>"], N_ROWS),
    )
    with undrawn():
        return read_page(write_report(folder).read_text(encoding="utf-8")), folder


def test_the_section_says_what_the_table_says(page):
    text = page[0].text
    start = text.index("A score over all patients")
    section = text[start : text.index("Every threshold", start)]
    rows = pd.read_csv(page[1] / "subgroups.csv", keep_default_na=False, na_values=[""])
    men = rows[(rows["group"] == "male") & (rows["metric"] == "accuracy")].iloc[0]
    assert men["pictures"] > 150
    assert f"male Sex {men['pictures']} of {men['lesions']} lesions {men['value']:.3f}" in section
    assert f"{men['low']:.3f}–{men['high']:.3f}, {men['cases']}" in section
    assert "female <b> Sex" in section
    noted = [attrs["data-values"] or "" for attrs in page[0].all("span") if "data-values" in attrs]
    value = f"male: {men['value']:.3f}, {men['low']:.3f}–{men['high']:.3f}, of {men['cases']}"
    assert any(value in [words for _, _, words in json.loads(text)] for text in noted)
    groups = ["under 30 Age", "45 to 59 Age", "60 to 74 Age", "unknown Age", "female <b> Sex", "male Sex"]
    assert [section.index(name) for name in groups] == sorted(section.index(name) for name in groups)


def test_few_pictures_are_counted_and_not_scored(page):
    rows = pd.read_csv(page[1] / "subgroups.csv", keep_default_na=False, na_values=[""])
    young = rows[(rows["group"] == "under 30") & (rows["metric"] == "accuracy")].iloc[0]
    assert young["pictures"] < 20
    assert np.isnan(young["value"])
    assert re.search(
        rf"under 30 Age {young['pictures']} of \d+ lesions too few {young['pictures']}", page[0].text
    )


@pytest.mark.usefixtures("bare_figures")
def test_without_patients_there_is_no_section(make_run, read_page):
    record = make_run(samplers=["none"], models=ONE_MODEL, n_rows=100)
    page = read_page(write_report(record.folder).read_text(encoding="utf-8"))
    assert "For whom does it work?" not in page.text
    assert pd.read_csv(record.folder / "subgroups.csv").empty


def test_confusion_figure_prints_rounded_shares_of_rows(record: RunRecord) -> None:
    counts = confusion_counts(record)["none", "svm"]
    figure = confusion_figure(counts, record.info.table.class_names)
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    expected = [f"{share:.0f}" for share in shares[shares >= 0.5]]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in written if text.isdigit()] == expected
