"""The page as a reader, a printer and an attacker would find it."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.summaries import leaderboard
from skinmnist.errors import InputError
from skinmnist.experiment.execution.local import run_in_background
from skinmnist.experiment.run_folder.record import RunRecord, read_run
from skinmnist.reporting.format import titled
from skinmnist.reporting.page import (
    _with_ranges,
    notes,
    render_page,
    samplers_counted,
    write_page,
    write_report,
)


@pytest.fixture(scope="module")
def page(html: str, read_page: type) -> Any:
    return read_page(html)


def test_every_section_is_there_and_in_the_contents(page: Any, sections: list[str]) -> None:
    ids = [attrs["id"] for attrs in page.all("section") if "id" in attrs]
    assert ids == sections
    links = [attrs["href"] for attrs in page.all("a")]
    assert [link for link in links if link.startswith("#")][1:] == [f"#{name}" for name in sections]


def test_files_of_the_run_are_links(page: Any, fake_run: Path) -> None:
    links = {attrs["href"] for attrs in page.all("a") if not attrs["href"].startswith("#")}
    assert {"predictions.csv.gz", "scores.csv", "comparisons.csv", "run.json"} <= links
    assert links <= {path.name for path in fake_run.iterdir()} | {"class_mix.csv", "timings.csv"}


def test_depth_is_one_click_away_and_a_link_opens_it(html: str, sections: list[str]) -> None:
    """A browser opens what encloses the target of a link: so ids stand inside, and folds hold no folds."""
    folds = re.findall(r"<details class=\"fold\">.*?</details>", html, flags=re.DOTALL)
    assert [re.findall(r'<section id="([^"]+)"', fold) for fold in folds] == [[name] for name in sections[6:]]
    assert all(fold.count("<details") == 1 for fold in folds)


def test_nothing_is_loaded_from_anywhere(page: Any) -> None:
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attrs.get(name)
            own = tag == "a" and value is not None and re.fullmatch(r"[a-z_]+\.(csv|csv\.gz|json)", value)
            assert own or value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert not [attrs for attrs in page.all("link") if attrs.get("rel") == "stylesheet"]


def test_style_and_figures_load_nothing_either(html: str) -> None:
    figures = [
        base64.b64decode(code).decode() for code in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", html)
    ]
    assert len(figures) > 20
    style = html[html.index("<style>") : html.index("</style>")]
    for text in (style, *figures):
        links = re.findall(r"(?:href|src)=\"([^\"]+)|url\(([^)]+)\)|(@import)", text)
        assert all(target.startswith("#") for link in links for target in link if target)


def test_every_image_says_what_it_shows_and_how_large_it_is(page: Any) -> None:
    assert len(page.all("img")) > 30
    for attrs in page.all("img"):
        assert attrs["alt"]
        assert int(attrs["width"] or 0) > 0
        assert int(attrs["height"] or 0) > 0


def test_tables_have_captions_and_scoped_headings(html: str, page: Any) -> None:
    assert html.count("<caption>") == html.count("<table") == 12
    assert all(attrs.get("scope") in ("col", "colgroup", "row") for attrs in page.all("th"))


def test_captions_are_short_and_the_page_above_its_depth_is_too(html: str) -> None:
    """Two sentences each; of the whole page, at most 2,500 words stand outside folds."""
    captions = re.findall(r"<(?:fig)?caption>(.*?)</(?:fig)?caption>", html, flags=re.DOTALL)
    assert len(captions) > 20
    for caption in captions:
        words = " ".join(re.sub(r"<[^>]+>", "", caption).split())
        assert len(re.findall(r"[.!?](?: |$)", words)) <= 2, words
    shown = re.sub(r"<details.*?</details>", " ", html[html.index("<main") :], flags=re.DOTALL)
    shown = shown[: shown.index("<footer")]
    assert 500 < len(re.sub(r"<[^>]+>", " ", shown).split()) < 2500


def test_the_best_of_a_column_is_marked_without_colour(page: Any, html: str, record: RunRecord) -> None:
    board = titled(record.info, leaderboard(record))
    best = board.loc[~board["reference"], "recall_mel"].max()
    assert f'<strong class="best">{best:.3f}<span class="hidden"> (best)</span>' in html


def test_answer_follows_from_the_leaderboard(page: Any, record: RunRecord) -> None:
    board = titled(record.info, leaderboard(record))
    best, second = board.iloc[0], board.iloc[1]
    none = board[(board["sampler"] == "none") & (board["model"] == best["model"])].iloc[0]
    assert best["sampler"] != "none"
    first = f"{best['model_title']} with {best['sampler_title']} ({best['macro_f1']:.3f})"
    words = page.text[page.text.index("No pair is shown to be best.") :]
    assert words.index(first) < words.index(f"({second['macro_f1']:.3f}) come first in macro-F1") < 300
    assert "SKM009" in words
    assert f"{best['macro_f1'] - none['macro_f1']:.3f} above the same model without a sampler" in page.text
    assert "for 6 comparisons together" in words


def test_data_card_and_reproduction(page: Any, record: RunRecord) -> None:
    for expected in (
        "CC BY-NC 4.0",
        "Tschandl",
        "cd" * 32,
        record.info.command,
        "8 min 32 s",
        "summed PSS",
    ):
        assert expected in page.text
    assert "not a medical device" in page.text


@pytest.mark.usefixtures("bare_figures")
def test_models_with_clinical_columns_are_explained(make_run, read_page, page: Any) -> None:
    assert "dx_type" not in page.text
    own = {"base": "cnn", "clinical": ["age", "sex"], "space": "pixels"}
    models = {
        "cnn": {"title": "Convolutional network", "space": "pixels"},
        "cnn+clinical": {"title": "Convolutional network + age, sex", **own},
    }
    change = {"table": {"clinical": ["age", "sex", "localization"]}}
    run = make_run(models=models, samplers=["none"], n_rows=100, change=change)
    pair = read_page(render_page(analyze(run, draws=10))).text
    assert "crossed with 1 model, with and without age and sex, 5-fold" in pair
    assert "with age and sex of the patient added to its predictions" in pair
    assert "Clinical columns age, sex, localization" in pair
    assert "Age and sex are given to a multinomial logistic regression" in pair
    assert "Clinical columns age and sex; dx_type is never used" in pair


@pytest.mark.usefixtures("bare_figures")
def test_a_folder_extended_with_other_columns_claims_nothing_for_all_models(make_run, read_page) -> None:
    models = {
        name: {"title": name, "base": "cnn", "clinical": columns, "space": "pixels"}
        for name, columns in {"cnn+clinical": ["age"], "svm+clinical": ["age", "sex"]}.items()
    }
    models["cnn"] = {"title": "Net", "space": "pixels"}
    run = make_run(models=models, samplers=["none"], n_rows=100)
    text = read_page(render_page(analyze(run, draws=10))).text
    assert "with the clinical columns in its title of the patient added" in text
    assert "The clinical columns in its title are given to" in text
    assert "with age and sex of" not in text


def test_page_is_small(html: str) -> None:
    assert len(html.encode()) < 2_500_000


@pytest.mark.usefixtures("bare_figures")
def test_the_gallery_says_what_was_called_what(make_run, read_page) -> None:
    record = make_run(n_rows=100, samplers=["none"], models={"svm": {"title": "SVM", "space": "pixels"}})
    rows = record.predictions
    wrong = rows[rows["label"] != rows["predicted"]]
    pictures = np.zeros((len(wrong), 28, 28, 3), np.uint8)
    np.savez(record.folder / "mistakes.npz", rows=wrong["row"].to_numpy(), pictures=pictures)
    top = wrong.loc[wrong.filter(like="p_").max(axis=1).idxmax()]
    names = record.info.table.class_names
    page = read_page(render_page(analyze(record, draws=10)))
    gallery = page.text[page.text.index("The most confident mistakes") :]
    share = f"{100 * top.filter(like='p_').max():.1f} %"
    assert f"{names[top['label']]} called {names[top['predicted']]}, {share}" in gallery
    alts = [attrs["alt"] for attrs in page.all("img")]
    assert f"A picture of class {names[top['label']]} predicted as {names[top['predicted']]}" in alts


TABLES = {
    "comparisons.csv",
    "intervals.csv",
    "difference_intervals.csv",
    "derived_scores.csv",
    "operating_points.csv",
    "tradeoff.csv",
    "subgroups.csv",
    "label_audit.csv",
}


@pytest.mark.usefixtures("bare_figures")
def test_write_report_leaves_the_page_and_the_tables_of_its_analysis(
    make_run,
) -> None:
    folder = make_run(samplers=["none"], models={"svm": {"title": "SVM", "space": ""}}, n_rows=100).folder
    before = {path.name for path in folder.iterdir()}
    path = write_report(str(folder))
    assert path == folder / "report.html"
    assert {p.name for p in folder.iterdir()} - before == {"report.html", *TABLES}
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The jobs of every call that draws in a worker."""
    seen = []

    def observed(*arguments: Any, jobs: int) -> Any:
        seen.append(jobs)
        return run_in_background(*arguments, jobs=jobs)

    monkeypatch.setattr("skinmnist.reporting.page.run_in_background", observed)
    return seen


def test_drawn_by_two_processes_the_page_is_the_same(
    fake_run: Path, html: str, tmp_path: Path, asked: list[int]
) -> None:
    """Half of it is drawn here for the second time, and is the same as well."""
    path = write_page(analyze(read_run(fake_run)), tmp_path / "again.html", jobs=2)
    assert asked == [2]
    assert path.read_text(encoding="utf-8") == html


@pytest.mark.usefixtures("bare_figures")
def test_a_long_run_is_not_sent_to_a_worker(make_run, tmp_path: Path, asked: list[int], monkeypatch) -> None:
    monkeypatch.setattr("skinmnist.reporting.page.SENT_ROWS", 0)
    run = make_run(n_rows=100, samplers=["none"], models={"svm": {"title": "SVM", "space": "pixels"}})
    path = write_page(analyze(run, draws=10), tmp_path / "page.html", jobs=2)
    assert asked == []
    assert "</html>" in path.read_text(encoding="utf-8")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        write_report(tmp_path)


def test_notes_stand_once_with_their_number_of_cells(record: RunRecord) -> None:
    (found,) = notes(record)
    assert found["cells"] == 6  # Two folds of SMOTE with each of three models.


def test_a_report_is_written_without_any_model(fake_run: Path, html: str, tmp_path: Path) -> None:
    code = "import sys; from skinmnist.report import main; main(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, str(fake_run), "--out", str(tmp_path / "again.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    unwanted = ("keras", "tensorflow", "imblearn", "skinmnist.models")
    assert [name for name in done.stdout.split() if name.startswith(unwanted)] == []
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_no_model_is_imported() -> None:
    code = "import skinmnist.reporting.page, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "skinmnist.reporting.page" in loaded
    unwanted = ("keras", "tensorflow", "imblearn", "sklearn", "skinmnist.models", "matplotlib.pyplot")
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_training_without_a_sampler_is_no_sampler() -> None:
    assert samplers_counted(["none", "SMOTE", "ADASYN"]) == "no sampler and 2 samplers"
    assert samplers_counted(["none"]) == "no sampler"
    assert samplers_counted(["SMOTE"]) == "1 sampler"


def test_notes_that_hardly_differ_are_one_with_a_range() -> None:
    rows = ["trained on 6,000 of the 29,537 rows", "trained on 6,000 of the 29,535 rows"]
    assert set(_with_ranges(rows)) == {"trained on 6,000 of the 29,535–29,537 rows"}
    assert len(_with_ranges(rows)) == 2
    folds = ["left out in fold 1", "left out in fold 3"]
    assert _with_ranges(folds) == folds
