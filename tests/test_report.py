import pytest

from skinmnist import run_comparison
from skinmnist.report import main


@pytest.mark.usefixtures("bare_figures")
def test_a_report_is_written_again(lesions, tmp_path, capsys):
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=tmp_path / "a")
    assert main([str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a" / "report.html")
    assert (tmp_path / "a" / "report.html").read_text().lower().startswith("<!doctype html>")


def test_a_folder_without_a_run(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert (
        "holds no run.json; expected a folder that `skinmnist compare` has written" in capsys.readouterr().err
    )


@pytest.fixture(scope="module")
def whole(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_comparison(lesions, "none", "dummy", folds=2, jobs=1, out=folder)
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("no_page")
def test_out_leaves_the_folder_of_the_run_alone(whole, tmp_path, capsys):
    before = contents(whole)
    assert main([str(whole), "--out", str(tmp_path / "there")]) == 0
    assert main([str(whole), "--out", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / "there" / "report.html"), str(tmp_path / "page.html")]
    assert (tmp_path / "there" / "report.html").read_bytes() == (tmp_path / "page.html").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"there", "page.html"}
    assert (tmp_path / "there" / "comparisons.csv").is_file()
    assert contents(whole) == before


def test_a_folder_that_cannot_be_written(whole, capsys, monkeypatch):
    def refuse(path, content):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("skinmnist.analysis.analyze.write_atomically", refuse)
    assert main([str(whole)]) == 2
    said = capsys.readouterr().err
    assert f"cannot be written into {whole} (Read-only file system)" in said
    assert "--out" in said
    assert said.count("\n") == 1


def test_no_folder():
    with pytest.raises(SystemExit) as leaving:
        main([])
    assert leaving.value.code == 2
