"""A comparison from Python: what it leaves, and what a run shows."""

import inspect

import numpy as np
import pandas as pd
import pytest
from fake_runs import make_run

from skinmnist import InputError, Progress, facts, make_lesions, read_run, run_comparison, write_report
from skinmnist.analysis.analyze import TABLES, analyze_run, write_analysis
from skinmnist.console import progress as progress_module
from skinmnist.experiment import comparison
from skinmnist.experiment.run_folder.folder import REPORT_FILE
from skinmnist.reporting import page as page_module

__all__ = ["make_run"]


class Interrupting(Progress):
    """A progress that interrupts the run after its first cell."""

    def planned(self, cells, stored, notes):
        pass

    def waiting(self, folder):
        pass

    def finished(self, outcome, seconds_left):
        raise KeyboardInterrupt


def tables_of(folder):
    return {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}


def test_a_run_leaves_the_tables_of_its_analysis(lesions, tmp_path):
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path / "run")
    left = tables_of(tmp_path / "run")
    analyze_run(read_run(tmp_path / "run"), tmp_path / "again")
    assert tables_of(tmp_path / "again") == left
    assert b"always" not in left["comparisons"]
    assert left["intervals"].count(b",macro_f1,") == 2  # The pair and its prior correction.


@pytest.fixture(scope="module")
def small_run(lesions, tmp_path_factory):
    return run_comparison(
        lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path_factory.mktemp("small") / "run"
    )


@pytest.mark.parametrize("place", ["run", "elsewhere"])
def test_tables_of_an_earlier_run_do_not_outlive_it(small_run, tmp_path, place):
    folder = small_run.folder if place == "run" else tmp_path / "report"
    analyze_run(small_run, folder, small_run.analysis)
    stale = {folder / f"{name}.csv" for name in ("shares", "conformal", "external")}
    for path in stale:
        path.write_text("of an earlier run")
    analyze_run(small_run, folder, small_run.analysis)
    assert not stale & {*folder.iterdir()}


def test_files_of_the_user_are_not_taken_for_tables_of_an_earlier_run(small_run, tmp_path):
    mine = tmp_path / "shares.csv"
    mine.write_text("mine")
    (small_run.folder / "shares.csv").symlink_to(mine)
    for folder in (tmp_path, small_run.folder):
        write_analysis(folder, small_run.analysis)
        assert (folder / "shares.csv").read_text() == "mine"
    (small_run.folder / "shares.csv").unlink()


def test_an_interrupted_run_leaves_them_too(lesions, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_comparison(
            lesions, "none", "dummy", folds=3, jobs=1, out=tmp_path / "run", progress=Interrupting()
        )
    assert read_run(tmp_path / "run").info.interrupted
    assert tables_of(tmp_path / "run")["intervals"].count(b",macro_f1,") == 2


def test_interrupted_before_it_began_nothing_is_touched(lesions, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=out)
    (out / "intervals.csv").write_text("theirs")

    def wait(folder, waiting):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "hold_folder", wait)
    with pytest.raises(KeyboardInterrupt):
        run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=out)
    assert (out / "intervals.csv").read_text() == "theirs"


def test_it_is_called_as_the_comparison_is():
    assert inspect.signature(run_comparison) == inspect.signature(comparison.run_comparison)
    assert run_comparison.__doc__ == comparison.run_comparison.__doc__


@pytest.fixture(scope="module")
def run():
    """A run without a folder."""
    return run_comparison(
        make_lesions(120, size=8), ["none", "SMOTE"], ["logistic_regression", "dummy"], folds=3, jobs=1
    )


def test_pairs_are_in_the_order_of_the_grid(run):
    assert run.pairs == [(s, m) for s in ("none", "SMOTE") for m in ("logistic_regression", "dummy")]


def test_without_a_folder_the_analysis_knows_the_lesions(run):
    assert run.in_memory
    assert run.analysis.lesions_known
    assert run.analysis is run.analysis


def test_leaderboard_is_that_of_the_scores(run):
    for metric in ("macro_f1", "LOG_LOSS"):
        board = run.leaderboard(metric)
        frame = run.frame()
        own = frame[frame["metric"] == metric.lower()]
        for row in board[board["trained"]].to_dict("records"):
            values = own.loc[(own["sampler"] == row["sampler"]) & (own["model"] == row["model"]), "value"]
            assert row["mean"] == pytest.approx(values.mean())
            assert row["sd"] == pytest.approx(values.std())
            assert row["folds"] == 3
        best = board["mean"].min() if metric == "LOG_LOSS" else board["mean"].max()
        assert board["mean"].iloc[0] == best
    known = run.leaderboard()[["low", "high"]].notna().all(axis=1)
    assert known.sum() == 6  # Four pairs, and two with prior correction.


def test_the_frame_is_the_callers_own(run):
    frame = run.frame()
    assert list(frame) == ["sampler", "model", "repeat", "fold", "metric", "value"]
    assert not frame.duplicated(["sampler", "model", "repeat", "fold", "metric"]).any()
    frame["value"] = 0
    assert run.frame()["value"].any()


def test_comparisons_are_those_of_the_analysis(run):
    analysis = run.analysis.comparisons
    own = analysis[(analysis["sampler"] == "SMOTE") & (analysis["model"] == "dummy")]
    own = own[own["question"] == "sampler"].reset_index(drop=True)
    found = run.compare("SMOTE + dummy", "none + dummy")
    pd.testing.assert_frame_equal(found, own[list(found)])
    turned = run.compare("none + dummy", "SMOTE + dummy")
    np.testing.assert_allclose(turned["difference"], -found["difference"])
    np.testing.assert_allclose(turned["high"], -found["low"])
    mirror = {"better": "worse", "worse": "better"}
    assert turned["verdict"].to_list() == [mirror.get(word, word) for word in found["verdict"]]
    assert set(found["tests"]) == {2}


def test_other_pairs_are_tested_by_themselves(run):
    found = run.compare(("SMOTE", "logistic_regression"), "none + dummy").set_index(["rule", "metric"])
    wide = run.frame().pivot_table(index=["metric", "fold"], columns=["sampler", "model"], values="value")
    gaps = (wide["SMOTE", "logistic_regression"] - wide["none", "dummy"])["macro_f1"]
    row = found.loc[("as_trained", "macro_f1")]
    assert row["difference"] == pytest.approx(gaps.mean())
    assert row["tests"] == 1
    with pytest.raises(InputError, match=r"'none \+ dummy' twice"):
        run.compare("none + dummy", "NONE+dummy")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda run: run.leaderboard("macro_f"), "unknown metric 'macro_f'; did you mean 'macro_f1'"),
        (lambda run: run.leaderboard("xyz"), "unknown metric 'xyz'; expected one of accuracy, "),
        (lambda run: run.compare("SMOT + dummy", "none + dummy"), "did you mean 'SMOTE [+] dummy'"),
    ],
)
def test_wrong_names_are_corrected(run, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call(run)


def test_as_text_a_run_is_short(run, make_run):
    text = repr(run)
    for words in ("SMOTE + dummy", "4 pairs", "12 of 12 cells", 'run.compare("', "run.plot.tradeoff()"):
        assert words in text
    models = {f"a_model_whose_name_is_rather_long_{n}": {"title": "M" * 90, "space": ""} for n in range(14)}
    large = make_run(models=models, n_rows=80, folds=2, finished=lambda cell: cell.model[-1] != "1")
    large = read_run(large.folder)
    assert len(large.pairs) == 36
    assert len(repr(large)) < 2000
    assert "failed: none + a_model" in repr(large)
    nothing = read_run(make_run(n_rows=80, folds=2, finished=lambda cell: False).folder)
    assert "run the comparison again" in repr(nothing)
    assert len(nothing._repr_html_()) < 5000


def test_as_html_it_warns_and_links_to_the_report(run, make_run, monkeypatch):
    shown = run._repr_html_()
    assert shown.count("<tr") == 8  # With prior correction, the majority baseline and the heading.
    warnings = [one for one in run.analysis.concerns if one.check.severity != "note"]
    assert warnings
    assert all(one.check.code in shown for one in warnings)
    assert facts.DISCLAIMER in shown
    assert "target=" not in shown  # There is no report.
    model = {"<i>": {"title": "A model", "space": ""}}
    stored = read_run(make_run(n_rows=80, folds=2, samplers=["none"], models=model).folder)
    (stored.folder / REPORT_FILE).touch()
    monkeypatch.chdir(stored.folder.parent)
    assert f"href='{stored.folder.name}/report.html'" in stored._repr_html_()
    assert "<i>" not in stored._repr_html_()


def test_a_report_is_written_and_opened_where_there_is_a_display(run, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    page = run.report(tmp_path / "a.html")
    assert page == tmp_path / "a.html"
    assert not opened
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(page_module, "write_report", lambda run, out: page)
    run.report(tmp_path / "a.html", open=False)
    assert not opened
    run.report(tmp_path / "a.html")
    assert opened == [page.as_uri()]


def test_a_run_without_a_folder_needs_a_name_for_its_report(run):
    with pytest.raises(InputError, match="this run has no folder; name a file"):
        write_report(run)


def test_progress_is_shown_where_it_is_wanted(lesions, capsys, monkeypatch):
    asked = {"folds": 2, "jobs": 1}
    run_comparison(lesions, "none", "dummy", **asked)
    assert capsys.readouterr() == ("", "")
    run_comparison(lesions, "none", "dummy", **asked, progress=True)
    assert "none + dummy" in capsys.readouterr().err
    with pytest.raises(InputError, match="progress='yes'; expected 'auto', True or False"):
        run_comparison(lesions, "none", "dummy", **asked, progress="yes")
    shown = []
    monkeypatch.setattr(progress_module, "in_notebook", lambda: True)
    monkeypatch.setattr(
        progress_module.NotebookBar, "_display", lambda self, words: shown.append(words) or self
    )
    monkeypatch.setattr(progress_module.NotebookBar, "_update", lambda self, words: shown.append(words))
    run_comparison(lesions, "none", "dummy", **asked)
    assert "0 of 2 cells" in shown[0]
    assert any("1 of 2 cells" in words for words in shown)
    assert "done in" in shown[-1]
