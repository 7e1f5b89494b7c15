"""Runs as they should not be, or seldom are: each has a page that says so."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree

import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.reporting.page import render_page, write_report


def test_names_from_users_are_escaped_everywhere(make_run, read_page) -> None:
    evil = "<script>alert(1)</script>"
    record = make_run(
        class_names=[evil, 'b"&$x$', "c<i>"],
        samplers=["none", "<b>own</b>"],
        models={"own": {"title": "<img src=x onerror=y>", "space": "pixels"}},
        n_rows=90,
        finished=lambda cell: cell.fold != 3,
    )
    text = render_page(analyze(record, draws=10))
    page = read_page(text)
    assert len(page.all("script")) == 2  # Tables in other formats, and what copies them.
    assert "<b>own" not in text
    assert all("onerror" not in attrs for attrs in page.all("img"))
    for code in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text):
        svg = base64.b64decode(code)
        assert b"<script" not in svg
        ElementTree.fromstring(svg)


@pytest.mark.usefixtures("bare_figures")
def test_banners_say_what_is_wrong(make_run, read_page) -> None:
    table = {"synthetic": True, "lesions": None, "lesions_per_class": None}
    record = make_run(
        n_rows=150,
        samplers=["none", "SMOTE"],
        models={"random_forest": {"title": "Random forest", "space": "components"}},
        finished=lambda cell: not (cell.sampler == "SMOTE" and cell.fold == 1),
        change={"quick": True, "protocol": {"split": "image"}, "table": table},
    )
    text = read_page(render_page(analyze(record, draws=10))).text
    for expected in (
        "say nothing about real skin lesions",
        "A quick look, not a result",
        "usually raises the scores",
        "SMOTE on components with Random forest , fold 2: the sampler found <no> neighbours".replace(
            " ,", ","
        ),
        "finished cells are kept",
        "4 of 5 folds finished",
    ):
        assert expected in text
    assert "CC BY-NC" not in text


ONE_MODEL = {"svm": {"title": "SVM", "space": "pixels"}}
#: What shows in figures, and what shows in words and in strips of pictures alone.
DRAWN = {
    "nothing finished": {"finished": lambda cell: False, "status": "pending"},
    "one cell": {"finished": lambda cell: cell == ("none", "svm", 0, 0), "status": "pending"},
    "one sampler": {"samplers": ["SMOTE"]},
    "a strategy": {"samplers": ["none", "class_weight"]},
    "two classes": {"class_names": ["benign", "malign"], "n_rows": 60},
    "fifty classes": {
        "class_names": [f"class number {n}" for n in range(50)],
        "folds": 2,
        "samplers": ["SMOTE"],
    },
    "a network": {"models": {"cnn": {"title": "CNN", "space": "pixels"}}, "repeats": 2, "n_rows": 100},
    "twelve folds": {"folds": 12, "n_rows": 150},
    "one fold of two": {"folds": 2, "finished": lambda cell: cell.fold == 0, "status": "pending"},
}
TOLD = {
    "part of the rows, grey": {
        "shape": (28, 28, 1),
        "n_rows": 100,
        "change": {"protocol": {"rows": 60}},
    },
    "a bare record, two channels": {
        "shape": (4, 6, 2),
        "n_rows": 100,
        "change": {"versions": {}, "hardware": {}, "notes": [], "wall_seconds": None, "command": ""},
    },
    "tiny": {"shape": (8, 8, 3), "n_rows": 100},
    "large": {"shape": (64, 64, 3), "n_rows": 100},
}


@pytest.mark.parametrize("oddity", [*DRAWN, *TOLD])
def test_odd_runs_have_a_page_too(make_run, read_page, sections, oddity: str, request) -> None:
    if oddity in TOLD:
        request.getfixturevalue("bare_figures")
    options = {"samplers": ["none", "SMOTE"], "models": ONE_MODEL, "folds": 3, **(DRAWN | TOLD)[oddity]}
    page = read_page(render_page(analyze(make_run(**options), draws=10)))
    assert [attrs["id"] for attrs in page.all("section") if "id" in attrs] == sections
    assert "nan" not in page.text.split()


@pytest.mark.usefixtures("bare_figures")
def test_scores_that_are_absent_are_dashes(make_run) -> None:
    record = make_run(samplers=["none"], models={"svm": {"title": "SVM", "space": "pixels"}}, n_rows=100)
    scores = record.scores.drop(record.scores.index[record.scores["metric"].isin(["macro_auc", "ece"])])
    object.__setattr__(record, "scores", scores)
    assert '<td data-value="nan"><span class="mean">–</span>' in render_page(analyze(record, draws=10))


@pytest.mark.usefixtures("bare_figures")
def test_a_folder_of_an_older_version_has_a_page_that_says_what_is_missing(make_run, read_page) -> None:
    folder = make_run(n_rows=100, samplers=["none"], models=ONE_MODEL).folder
    (folder / "lesions.npz").unlink()
    text = read_page(write_report(folder).read_text(encoding="utf-8")).text
    assert "single pictures were resampled for the intervals" in text
    assert "95 % interval over pictures" in text
    assert "holds no pictures of mistakes" in text
