"""Several runs on one page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skinmnist.analysis.summaries import leaderboard
from skinmnist.errors import InputError
from skinmnist.report import main
from skinmnist.reporting.side_by_side import draw_runs, render_side_by_side, warnings, write_side_by_side

OPTIONS = {"models": {"svm": {"title": "SVM <i>", "space": "pixels"}}, "folds": 3, "n_rows": 120}


@pytest.fixture
def two(make_run):
    first = make_run(samplers=["none", "SMOTE"], **OPTIONS)
    second = make_run(samplers=["none", "ADASYN"], **OPTIONS, change={"protocol": {"seed": 1}})
    return [first, second]


def test_pairs_stand_in_rows_and_runs_in_columns(two) -> None:
    page = render_side_by_side(two)
    start = page.index('id="metric-1"')
    body = page[page.index("<tbody>", start) : page.index("</tbody>", start)]
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)]
    boards = [leaderboard(record).set_index("sampler")["macro_f1"] for record in two]
    by_name = {row[0]: [text for text in row if re.fullmatch(r"[+−]?\d\.\d{3}|–", text)] for row in rows}
    assert by_name.keys() == {"no", "SMOTE", "ADASYN", "prior", "always"}
    none = [board["none"] for board in boards]
    assert [by_name["no"][0], by_name["no"][2]] == [f"{value:.3f}" for value in none]
    assert by_name["no"][4] == f"{none[1] - none[0]:.3f}"
    assert by_name["SMOTE"][0] == f"{boards[0]['SMOTE']:.3f}"
    assert by_name["SMOTE"][2:] == ["–", "–"]
    assert by_name["ADASYN"][0] == "–"
    assert by_name["ADASYN"][-1] == "–"
    assert "SVM &lt;i&gt;" in page
    assert "<i>" not in body
    assert not re.findall(r'src="(?!data:)', page)


def test_all_differences_stand_in_one_table(two) -> None:
    """Accuracy of the pair that both runs have, by counting; its place in the figure's words."""
    page = render_side_by_side(two)
    start = page.index('aria-label="Table: differences"')
    body = page[page.index("<tbody>", start) : page.index("</tbody>", start)]
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)]
    assert [row[0] for row in rows if row[0] not in ("prior", "always")] == ["no"]
    (row,) = [row for row in rows if row[0] == "no"]
    means = []
    for record in two:
        rows_ = record.predictions[record.predictions["sampler"] == "none"]
        means.append((rows_["label"] == rows_["predicted"]).groupby(rows_["fold"]).mean().mean())
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", page[start : page.index("<tbody>", start)])
    place = [head.replace("\u2011", "-") for head in heads].index("Accuracy") - 2
    numbers = [text for text in row if re.fullmatch(r"[+−]?\d\.\d{3}", text)]
    gap, before, after = numbers[3 * place : 3 * place + 3]
    assert (before, after) == tuple(f"{mean:.3f}" for mean in means)
    assert float(gap.replace("−", "-")) == pytest.approx(means[1] - means[0], abs=6e-4)
    assert f"A, none + svm: {means[0]:.3f} and" in page


def test_runs_without_cells_or_common_pairs(make_run) -> None:
    first = make_run(samplers=["none"], **OPTIONS, finished=lambda cell: False, status="pending")
    second = make_run(samplers=["SMOTE"], **OPTIONS)
    assert "The runs have no pair in common." in render_side_by_side([first, first])
    assert draw_runs([first, first], "AB") is None
    assert draw_runs([first, second], "AB") is not None


def test_alike_runs_carry_no_warning(make_run) -> None:
    alike = [make_run(samplers=["none"], **OPTIONS) for _ in range(2)]
    assert warnings(alike) == []
    assert "share data and protocol" in render_side_by_side(alike)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"protocol": {"split": "image"}}, "differ in split (by lesion and by image): a split by image puts"),
        ({"protocol": {"seed": 7}}, "differ in seed (0 and 7)"),
        ({"table": {"name": "other"}}, "differ in table (hmnist_28_28_RGB and other)"),
        ({"protocol": {"data": "ef" * 32}}, "different data under one name"),
        ({"quick": True}, "B is a quick look, not a result."),
        ({"table": {"synthetic": True}}, "B is on synthetic pictures"),
    ],
)
def test_whatever_differs_is_said(make_run, change, said) -> None:
    runs = [make_run(samplers=["none"], **OPTIONS), make_run(samplers=["none"], **OPTIONS, change=change)]
    assert [warning for warning in warnings(runs) if said in warning]


def test_an_unfinished_run_is_named(make_run) -> None:
    first = make_run(samplers=["none"], **OPTIONS)
    second = make_run(samplers=["none"], **OPTIONS, finished=lambda cell: cell.fold == 0, status="pending")
    assert warnings([second, first]) == ["A is unfinished."]


def test_the_command_writes_one_page(two, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [str(record.folder) for record in two]
    assert main([*folders]) == 0
    assert capsys.readouterr().out.strip() == "runs.html"
    assert main([*folders, "--out", "both.html"]) == 0
    assert Path("both.html").read_bytes() == Path("runs.html").read_bytes()
    assert not any((Path(folder) / "report.html").exists() for folder in folders)
    assert main([folders[0], str(tmp_path)]) == 2
    assert "holds no run.json" in capsys.readouterr().err


def test_one_run_is_not_beside_anything(two) -> None:
    with pytest.raises(InputError, match="received 1 run; expected 2 to 26"):
        write_side_by_side([two[0].folder])
