"""Texts from outside: 25 hostile names through everything that shows or writes one."""

import csv
import gzip
import html
import io
import json
import re
import shutil
import unicodedata
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinmnist import build, compare, run_comparison
from skinmnist.analysis.analyze import analyze
from skinmnist.console.terminal import Terminal
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.metadata import read_metadata
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure
from skinmnist.experiment.run_folder.folder import log_event, log_outcome, log_to
from skinmnist.experiment.run_folder.record import read_run, write_tables
from skinmnist.experiment.run_folder.store import CellStore, Provenance, digest_held_out
from skinmnist.reporting.page import render_page

#: Names, and how each is to be seen where it is shown.
NAMES = {
    "=cmd|'/C calc'!A0": "=cmd|'/C calc'!A0",
    '=HYPERLINK("//x","y")': '=HYPERLINK("//x","y")',
    "+1": "+1",
    "-2+3": "-2+3",
    "@SUM(1+1)": "@SUM(1+1)",
    "\t=1": r"\t=1",
    "\r=1": r"\r=1",
    "\uff1d1+1": "\uff1d1+1",
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b]8;;//x\x1b\\link": r"\x1b]8;;//x\x1b\link",
    "\x9b2Jgone": r"\x9b2Jgone",
    "\u202emoc.live": r"\u202emoc.live",
    "\u2066in\u2069\u200f": r"\u2066in\u2069\u200f",
    "zero\u200dwidth\u200b": r"zero\u200dwidth\u200b",
    "\ufeff=1": r"\ufeff=1",
    "nul\0nul": r"nul\x00nul",
    "lone\udcff": r"lone\udcff",
    "two\nlines": r"two\nlines",
    ":smile:": ":smile:",
    "[bold]x[/bold]": "[bold]x[/bold]",
    "[link=//x]y[/link][/]": "[link=//x]y[/link][/]",
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "w" * 10_000: "wwww",
    "z" + "\u0301" * 60 + "\U000e0041": "z",
}
IDS = [ascii(name)[1:-1][:30] for name in NAMES]
NOTHING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")
#: Of one line of output, whatever the name.
LONGEST = 6000
LONGEST_NAME = 200


def assert_tame(text, longest=LONGEST):
    """Check that a text hides nothing, steers nothing, and has lines of bounded length."""
    assert not {sign for sign in text if unicodedata.category(sign) in NOTHING} - {"\n"}
    assert not re.search("[\u0300-\u036f]{9}", text)
    assert max(map(len, text.split("\n"))) <= longest


def assert_inert(content, longest=LONGEST):
    """Check that a CSV computes nothing where a spreadsheet opens it."""
    text = content.decode()
    assert_tame(text, longest)
    for cells in csv.reader(io.StringIO(text, newline="")):
        for cell in cells:
            assert not FORMULA.match(cell) or re.fullmatch(r"-[\d.e-]+", cell), cell


def refused(work):
    """Return the sentence with which bad input is refused, or None where it is not."""
    try:
        work()
    except InputError as error:
        return str(error)
    return None


def as_written(name):
    """Return the name, or what is shown in its place where no file can hold it."""
    return "".join(sign if not "\ud800" <= sign <= "\udfff" else ascii(sign)[1:-1] for sign in name)


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Return a runner of a tiny comparison whose run folder somebody else then fills with names."""

    @cache
    def done(n_classes):
        labels = np.arange(n_classes).repeat(4)
        pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 3)).astype(np.uint8)
        places = tuple(f"place{number:02d}" for number in range(n_classes))
        folder = tmp_path_factory.mktemp("run")
        table = PixelTable(pixels, labels, places, (1, 1, 3), name="called", origin="made")
        run_comparison(table, "none", "dummy", folds=2, jobs=1, out=folder)
        return folder

    def filled(folder, name, class_names):
        shutil.copytree(done(len(class_names)), folder)
        results = read_run(folder).results
        text = (folder / "run.json").read_text()
        for number, own in enumerate(class_names):
            text = text.replace(f"place{number:02d}", json.dumps(own)[1:-1])
        info = json.loads(text.replace("called", json.dumps(name[:50])[1:-1]))
        info["grid"]["models"] = {name: {"title": name}}
        info["held_out"] = [[digest_held_out(each.rows, each.labels, class_names) for each in results]]
        store = CellStore(
            folder / "cells", Provenance(info["identity"], {}, class_names, (1, 1, 3), info["held_out"])
        )
        result = replace(results[0], cell=results[0].cell._replace(model=name))
        store.save(result)
        finished, failed = info["cells"]
        finished |= {"model": name, "file": store.path(result.cell).name}
        failed |= {"model": name, "status": "failed", "reason": name}
        (folder / "run.json").write_text(json.dumps(info))
        record = read_run(folder)
        assert [each.cell for each in record.results] == [result.cell]
        return record

    def renamed(folder, name, class_names):
        if (name, class_names) != (as_written(name), [*map(as_written, class_names)]):
            assert_tame(refused(lambda: filled(folder.with_name("refused"), name, class_names)))
        return filled(folder, as_written(name), [*map(as_written, class_names)])

    return renamed


def terminal_of_compare(name, seen, folder, run_of, capsys):
    table = PixelTable(
        np.zeros((2, 3), np.uint8), np.array([0, 1]), ("a", "b"), (1, 1, 3), name=name, origin=name
    )
    record = run_of(folder / "run", name, ["nv", name])
    terminal = Terminal()
    with terminal:
        terminal.table(table, "lesion", quick=False)
        terminal.planned([], 0, [name])
        terminal.finished(CellFailure(Cell("none", name, 0, 0), name), None)
        terminal.waiting(Path(name))
        terminal.scores(record)
    printed = capsys.readouterr()
    assert_tame(printed.out)
    assert_tame(printed.err)
    assert seen in printed.err
    assert seen in printed.out


def terminal_of_build(name, seen, folder, run_of, capsys):
    code = build_with(name, folder)
    printed = capsys.readouterr()
    assert_tame(printed.out + printed.err)
    assert seen in printed.out if code == 0 else printed.err.count("\n") == 1


def error_sentence(name, seen, folder, run_of, capsys):
    assert compare.main([str(folder / f"{name}.csv")]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert_tame(printed)
    assert seen.replace("//", "/") in printed  # as paths have it


def report(name, seen, page, run_of, capsys):
    assert html.escape(seen, quote=False) in html.unescape(page).replace("<", "&lt;").replace(">", "&gt;")
    assert name == seen[: len(name)] or len(name) > LONGEST_NAME or name not in page
    assert "<script>alert" not in page


def scores(name, seen, folder, run_of, capsys):
    write_tables(run_of(folder / "run", name, ["nv", name]))
    assert_inert((folder / "run" / "scores.csv").read_bytes(), 10**6)
    assert_inert((folder / "run" / "timings.csv").read_bytes(), 10**6)


def predictions(name, seen, folder, run_of, capsys):
    write_tables(run_of(folder / "run", name, ["nv", name]))
    assert_inert(gzip.decompress((folder / "run" / "predictions.csv.gz").read_bytes()), 10**6)


def metadata_of_build(name, seen, folder, run_of, capsys):
    if build_with(name, folder) == 0:
        assert_inert((folder / "t_metadata.csv").read_bytes())
        table = load_hmnist(folder / "t.csv")
        assert set(table.class_names) == {"plain", name}
        assert set(table.lesion_ids) == {"lesion", name}
        assert set(table.clinical["sex"]) == {"", name.strip().lower()}


def log(name, seen, folder, run_of, capsys):
    with log_to(folder / "run.log"):
        log_event("run started", folder=name)
        log_outcome(CellFailure(Cell("none", name, 0, 0), name))
    lines = (folder / "run.log").read_text(encoding="utf-8").splitlines()
    assert_tame("\n".join(lines), 10**6)
    first, second = map(json.loads, lines)
    assert first["folder"] == second["model"] == second["reason"] == name


def build_with(name, folder):
    """Build a table of two pictures whose class, lesion and words are named by somebody else."""
    (folder / "p").mkdir()
    for number in range(2):
        Image.new("RGB", (2, 2)).save(folder / "p" / f"{number}.png")
    text = io.StringIO()
    rows = [["lesion_id", "image_id", "dx", "sex"], ["lesion", "0", "plain", ""], [name, "1", name, name]]
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    (folder / "m.csv").write_bytes(text.getvalue().encode(errors="surrogateescape"))
    arguments = [str(folder / "p"), "--metadata", str(folder / "m.csv"), "--size", "1x1", "--jobs", "1"]
    return build.main([*arguments, "--out", str(folder / "t.csv")])


@pytest.fixture(scope="session")
def page(run_of, tmp_path_factory):
    """Return the report on a run whose classes bear all the names."""
    record = run_of(tmp_path_factory.mktemp("page") / "run", " ".join(NAMES), list(NAMES))
    return render_page(analyze(record, draws=10))


OUTPUTS = [
    terminal_of_compare,
    terminal_of_build,
    error_sentence,
    report,
    scores,
    predictions,
    metadata_of_build,
    log,
]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.__name__)
@pytest.mark.parametrize("name", NAMES, ids=IDS)
def test_no_name_steers_what_shows_it(name, output, tmp_path, run_of, capsys, monkeypatch, request):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    place = request.getfixturevalue("page") if output is report else tmp_path
    output(name, NAMES[name], place, run_of, capsys)


def test_the_whole_report_is_tame(page):
    page.encode()
    assert_tame(page, 10**8)


def test_metadata_of_others_is_read_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "cache"))
    assert build_with("'=1", tmp_path) == 0
    assert set(load_hmnist(tmp_path / "t.csv").lesion_ids) == {"lesion", "'=1"}
    (tmp_path / "other.csv").write_bytes((tmp_path / "t_metadata.csv").read_bytes())
    assert set(read_metadata(tmp_path / "other.csv").lesion_ids) == {"lesion", "''=1"}
