"""Everything of a report as files."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from skinmnist import make_lesions, run_comparison
from skinmnist.errors import InputError
from skinmnist.report import main
from skinmnist.reporting import export
from skinmnist.reporting.page import render_page
from skinmnist.reporting.tables import read_page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    table = make_lesions(90, size=8)
    folder = tmp_path_factory.mktemp("exported") / "run"
    return run_comparison(table, ["none", "SMOTE"], ["dummy"], folds=2, jobs=1, out=folder)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Path:
    folder, pages = tmp_path_factory.mktemp("paper") / "a", []

    def remembered(analysis) -> str:
        pages.append(render_page(analysis))
        return pages[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "render_page", remembered)
        export.export_report(run, folder)
    folder.with_name("page.html").write_text(pages[0], encoding="utf-8")
    return folder


def test_every_table_and_figure_of_the_page_is_there(exported: Path) -> None:
    tables, _ = read_page(exported.with_name("page.html").read_text(encoding="utf-8"))
    for suffix, texts in (("csv", "to_csv"), ("md", "to_markdown"), ("tex", "to_latex")):
        found = {path.stem: path.read_text("utf-8") for path in (exported / "tables").glob(f"*.{suffix}")}
        assert found == {table.name: getattr(table, texts)() for table in tables}
    stems = [{path.stem for path in (exported / "figures").glob(f"*.{kind}")} for kind in ("svg", "pdf")]
    assert stems[0] == stems[1]
    assert {"tradeoff", "leaderboard", "confusion", "confusion-2", "samplers"} <= stems[0]
    assert not {name for name in stems[0] if name.startswith("table")}


def test_figures_stand_alone(exported: Path) -> None:
    for path in (exported / "figures").iterdir():
        if path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF")
        else:
            assert ET.fromstring(path.read_text("utf-8")).tag.endswith("svg")
            assert "var(--" not in path.read_text("utf-8")


def test_an_earlier_export_is_replaced_and_nothing_of_the_users(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_contents", lambda _: [("tables/a.csv", b"1"), ("methods.md", b"2")])
    (tmp_path / "methods.md").write_text("mine")
    with pytest.raises(InputError, match=r"holds methods\.md, which would be replaced"):
        export.export_report(run, tmp_path)
    (tmp_path / "methods.md").unlink()
    export.export_report(run, tmp_path)
    (tmp_path / "tables" / "old.csv").write_text("a\n")
    (tmp_path / "mine.txt").write_text("mine")
    export.export_report(run, tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"tables/a.csv", "methods.md", "mine.txt", ".skinmnist-export"}


def test_the_command_exports_and_logs(run, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr("skinmnist.reporting.page.write_report", lambda *_, **__: tmp_path / "page.html")
    monkeypatch.setattr(export, "export_report", lambda _, folder: folder)
    monkeypatch.setattr("skinmnist.reporting.mlflow_log.log_to_mlflow", lambda *given: given[2])
    assert main([str(run.folder), "--export", "paper", "--mlflow", "file:runs"]) == 0
    assert capsys.readouterr().out.split("\n")[1:] == ["paper", "MLflow run file:runs", ""]


def test_the_supplement_compiles(exported: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("needs LaTeX (pdflatex), which is not installed")
    folder = shutil.copytree(exported, tmp_path / "paper")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "supplement.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("bibtex") is not None:
        done = subprocess.run(
            ["bibtex", "supplement"], cwd=folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout


def test_side_by_side_takes_no_export(run, capsys) -> None:
    assert main([str(run.folder), str(run.folder), "--export", "x"]) == 2
    assert "--export and --mlflow take one" in capsys.readouterr().err
