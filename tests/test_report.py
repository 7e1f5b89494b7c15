import pytest

from skinmnist import run_comparison
from skinmnist.report import main


def test_a_report_is_written_again(lesions, tmp_path, capsys):
    run_comparison(lesions, "none", "dummy", folds=2, out=tmp_path / "a")
    assert main([str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a" / "report.html")
    assert (tmp_path / "a" / "report.html").read_text().lower().startswith("<!doctype html>")


def test_a_folder_without_a_run(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert (
        "holds no run.json; expected a folder that skinmnist.compare has written" in capsys.readouterr().err
    )


def test_no_folder():
    with pytest.raises(SystemExit) as leaving:
        main([])
    assert leaving.value.code == 2
