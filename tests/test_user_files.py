"""Files of a user's, named like ours wherever we write or sweep: after every command, every byte is there."""

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinmnist import (
    build,
    compare,
    download,
    facts,
    lessons,
    make_lesions,
    predict,
    report,
    run_comparison,
    train,
)
from skinmnist.console.common import guarded
from skinmnist.datasets.cache import render_once
from skinmnist.datasets.files import write_atomically
from skinmnist.experiment.execution import local
from skinmnist.experiment.fit_cell import fit_cell

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")

CELL = "none-dummy-r0-f0-0123456789abcdef.cell"
COMPARE = ["--models", "dummy", "--samplers", "none", "--folds", "2", "--jobs", "1"]
#: A command that waits for a pipe is ended after so many seconds.
PATIENCE = 60


class Belongings:
    """Things of a user's under one folder, and whether they are as they were."""

    def __init__(self, root: Path):
        self.root = root
        self.things: dict[Path, tuple[str, bytes]] = {}

    def file(self, *names: str) -> None:
        for name in names:
            path = self._place(name)
            path.write_bytes(f"my own {name}\n".encode() * 3)
            self.things[path] = ("file", path.read_bytes())

    def link(self, name: str, target: str) -> None:
        path = self._place(name)
        path.symlink_to(self.root / target)
        self.things[path] = ("link", bytes(path.readlink()))

    def pipe(self, name: str) -> None:
        path = self._place(name)
        os.mkfifo(path)
        self.things[path] = ("pipe", b"")

    def lost(self) -> list[str]:
        return [
            str(path.relative_to(self.root))
            for path, (kind, content) in self.things.items()
            if self._now(path) != (kind, content)
        ]

    def _place(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def _now(path: Path) -> tuple[str, bytes]:
        try:
            mode = path.lstat().st_mode
        except OSError:
            return "nothing", b""
        if stat.S_ISLNK(mode):
            return "link", bytes(path.readlink())
        return ("file", path.read_bytes()) if stat.S_ISREG(mode) else ("pipe", b"")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A machine whose folders are all in one, with small tables and cells that run in this process."""
    folders = {"SKINMNIST_CACHE": "cache", "SKINMNIST_MODELS": "models", "SKINMNIST_DATA": "nowhere"}
    for variable, name in folders.items():
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skinmnist.console.common.SYNTHETIC_ROWS", 60)
    return Belongings(tmp_path)


@pytest.fixture
def at_once(monkeypatch):
    """Cells run in this process, and reports show nothing."""

    def run(cells, table, task, *more, **others):
        for cell in cells:
            yield fit_cell(cell, table, task)

    monkeypatch.setattr(local, "run_cells", run)
    monkeypatch.setattr("skinmnist.reporting.page.render_page", lambda *_: "a page")


class GaveUpError(BaseException):
    """Nothing that a command might take for an error of its own."""


def call(main, *arguments) -> int:
    """Call a command; -1 where it would wait for ever."""

    def give_up(*_):
        raise GaveUpError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        return main([str(argument) for argument in arguments])
    except GaveUpError:
        return -1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refused(capsys, main, *arguments) -> str:
    """Call a command that must refuse; return what it said, or nothing."""
    capsys.readouterr()
    code = call(main, *arguments)
    said = capsys.readouterr().err.strip().splitlines()
    return said[-1] if code == 2 and "Traceback" not in "".join(said) else ""


def test_the_temporary_folder(mine, lesions):
    mine.file("archive/.lock", "archive/letter")
    for name in ("thesis", "venv", "abcdefgh", "run-abcdefgh", "leaks-abcdefgh"):
        mine.file(f"temporary/skinmnist-{name}/.lock", f"temporary/skinmnist-{name}/scores.csv")
    mine.file("temporary/skinmnist-aaaaaaaa", "temporary/skinmnist-bbbbbbbb/.lock")
    mine.file("temporary/skinmnist-bbbbbbbb/table.joblib")
    mine.link("temporary/skinmnist-cccccccc", "archive")
    mine.pipe("temporary/skinmnist-dddddddd/.lock")
    mine.link("temporary/skinmnist-eeeeeeee/.lock", "archive/.lock")
    mine.file("temporary/skinmnist-eeeeeeee/letter")
    for folder in (mine.root / "temporary").iterdir():
        os.utime(folder, (0, 0), follow_symlinks=False)
    before = {path.name for path in (mine.root / "temporary").iterdir()}
    assert call(lambda _: bool(run_comparison(lesions, "none", "dummy", folds=2, jobs=1).failures)) == 0
    assert mine.lost() == []
    assert {path.name for path in (mine.root / "temporary").iterdir()} == before


#: In a folder that is no run: the first part of each is named by the refusal.
IN_THE_WAY = (
    "run.json",
    "run.log",
    "report.html",
    "scores.csv",
    "timings.csv",
    "comparisons.csv",
    "predictions.csv.gz",
    "claims.csv",
    "leaks.csv",
    "pictures.npz",
    "leaks/mine/notes.txt",
    f"cells/{CELL}",
    "published/preset.json",
)


def test_a_folder_that_is_no_run(mine, at_once, capsys):
    refusals = []
    for number, name in enumerate(IN_THE_WAY):
        mine.file(f"out-{number}/{name}", f"out-{number}/thesis.tex")
    mine.file("elsewhere/report.html", f"elsewhere/cells/{CELL}")
    mine.link("link/report.html", "elsewhere/report.html")
    mine.link("dangling/scores.csv", "nothing")
    mine.link("linked/cells", "elsewhere/cells")
    mine.pipe("pipe/run.log")
    mine.pipe("lock/cells/.lock")
    ways = {f"out-{number}": name.split("/")[0] for number, name in enumerate(IN_THE_WAY)}
    before = {path: path.lstat().st_mtime_ns for path in mine.root.rglob("*/*")}
    ways |= {"link": "report.html", "dangling": "scores.csv", "linked": "cells", "pipe": "run.log"}
    for out, named in (ways | {"lock": "cells"}).items():
        for more in ([], ["--fresh"]):
            refusals.append(named in refused(capsys, compare.main, *COMPARE, "--out", out, *more))
    assert mine.lost() == []
    assert all(refusals)
    after = {path: path.lstat().st_mtime_ns for path in mine.root.rglob("*/*")}
    assert before == after, "something was made before the refusal"


def test_a_run_folder(mine, at_once):
    mine.file("elsewhere/one.cell", "elsewhere/report.html", "run/thesis.tex")
    assert call(compare.main, *COMPARE, "--out", "run") == 0
    mine.file("run/.scores.csv.original", "run/my scores.csv", "run/cells/notes.cell")
    mine.file("run/cells/.notes.cell.original", f"run/cells/{CELL}", "run/leaks/mine/notes.cell")
    mine.file("run/published/notes.cell", f"run/published/{CELL}")
    mine.link("run/cells/linked.cell", "elsewhere/one.cell")
    mine.link("run/leaks/linked", "elsewhere")
    mine.pipe("run/cells/pipe.cell")
    before = (mine.root / "run" / "scores.csv").read_bytes()
    codes = [call(compare.main, *COMPARE, "--out", "run", *more) for more in ([], ["--fresh"])]
    codes.append(call(report.main, "run"))
    assert mine.lost() == []
    assert codes == [0, 0, 0]
    assert (mine.root / "run" / "scores.csv").read_bytes() == before
    # A link of the user's at one of our own names is neither followed nor replaced.
    (mine.root / "run" / "report.html").unlink()
    mine.link("run/report.html", "elsewhere/report.html")
    codes = [call(compare.main, *COMPARE, "--out", "run", *more) for more in ([], ["--fresh"])]
    assert [*codes, call(report.main, "run")] == [2, 2, 2]
    assert mine.lost() == []


@pytest.mark.usefixtures("no_page")
def test_pages(mine, capsys):
    mine.file("page.html", "runs.html", "tables/comparisons.csv", "pages/report.html", "pages/runs.html")
    mine.file("beside/notes.txt")
    record = run_comparison(make_lesions(100, size=8), "none", "dummy", folds=2, jobs=1, out="run")
    said = [
        refused(capsys, report.main, record.folder, "--out", "page.html"),
        refused(capsys, report.main, record.folder, record.folder),
        refused(capsys, report.main, record.folder, record.folder, "--out", "pages"),
        *(refused(capsys, report.main, record.folder, "--out", folder) for folder in ("tables", "pages")),
    ]
    assert mine.lost() == []
    assert "page.html exists and was not written by skinmnist" in said[0]
    assert "runs.html exists" in said[1]
    assert "runs.html exists" in said[2]
    assert ["is not a report of skinmnist and holds" in one for one in said[3:]] == [True] * 2
    for _ in range(2):  # The second time, what was written the first time is replaced.
        assert call(report.main, record.folder, record.folder, "--out", "mine.html") == 0
        assert call(report.main, record.folder, "--out", "beside") == 0
    assert mine.lost() == []


def test_downloads(mine, mirror, collection, capsys):
    mine.file("data/ham.zip", "data/ham.zip.part", "data/ham.zip.part.json", "data/SHA256SUMS")
    mine.file("data/.download-mine/ham.zip", "data/hmnist_28_28_L.csv.part.json", "elsewhere/mine.csv")
    mine.link("data/hmnist_8_8_L.csv.part", "elsewhere/mine.csv")
    mine.pipe("data/hmnist_8_8_RGB.csv.part")
    mirror.files = {f"/ham/{name}": content for name, content in collection.items()}
    mirror.files["/ham.zip"] = zipped(collection)
    codes = []
    for address in (f"{mirror.url}/ham.zip", f"{mirror.url}/ham"):
        codes.append(call(download.main, "--mirror", address, "--to", "data"))
        codes += [(mine.root / "data" / name).read_bytes() == collection[name] for name in collection]
        for name in collection:
            (mine.root / "data" / name).unlink()
    assert mine.lost() == []
    assert codes == [0, *[True] * len(collection)] * 2
    mine.link(f"data/{facts.METADATA_FILE}", "nothing")
    assert "is a link" in refused(capsys, download.main, "--mirror", f"{mirror.url}/ham", "--to", "data")
    assert mine.lost() == []
    (mine.root / "elsewhere" / "new").mkdir()
    mine.link("other/.skinmnist-download", "elsewhere/new")
    assert "is a link" in refused(capsys, download.main, "--mirror", f"{mirror.url}/ham", "--to", "other")
    assert mine.lost() == []


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_the_model_folder_and_explanations(mine, capsys):
    mine.file("models/synthetic-dummy-none.skm", "elsewhere/a.txt", "models/notes.skm")
    mine.link("models/linked.skm", "elsewhere/a.txt")
    mine.file("b.png-explained.png")
    mine.link("a.png-explained.png", "elsewhere/a.txt")
    mine.pipe("c.png-explained.png")
    for name in "abcd":
        Image.new("RGB", (28, 28), (200, 150, 140)).save(f"{name}.png")
    table = make_lesions(300)
    said = [
        refused(capsys, train.main, "--model", "dummy"),
        *(
            refused(capsys, train.main, "--model", "dummy", "--out", f"models/{name}.skm")
            for name in ("notes", "linked")
        ),
    ]
    for _ in range(2):
        assert call(train.main, "--model", "dummy", "--out", "models/good.skm") == 0
    # The second time, the map is replaced that was written the first time.
    codes = [
        call(predict.main, "models/good.skm", *(f"{name}.png" for name in names), "--explain")
        for names in ("abcd", "d", "d")
    ]
    assert mine.lost() == []
    assert codes == [1, 0, 0]
    assert table.name in "synthetic-dummy-none.skm"
    assert "was not written by skinmnist" in said[0]
    assert "was not written by skinmnist" in said[1]
    assert "is a link" in said[2]


def test_builds(mine, capsys):
    rng = np.random.default_rng(0)
    for number in range(6):
        path = mine.root / "moles" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(path)
    mine.file("t1.csv.part", "t2_classes.json", "t3_metadata.csv", "t4.csv", "elsewhere/a.txt")
    mine.link("t5.csv.part", "elsewhere/a.txt")
    mine.link("t6.csv", "nothing")
    mine.pipe("t7.csv.part")
    mine.pipe("t8_metadata.csv")
    said = [
        refused(capsys, build.main, "moles", "--out", f"t{number}.csv", "--jobs", "1")
        for number in range(1, 9)
    ]
    assert mine.lost() == []
    assert [f"t{number}" in one for number, one in enumerate(said, 1)] == [True] * 8
    for _ in range(2):
        assert call(build.main, "moles", "--out", "built.csv", "--jobs", "1") == 0


def test_lessons(mine, capsys):
    for number, name in enumerate(("index.html", "findings.json", "notebooks/01_accuracy_lies.ipynb")):
        mine.file(f"gallery-{number}/{name}")
    mine.link("sheet.txt", "nothing")
    said = [
        refused(capsys, lessons.main, "1", "--jobs", "1", "--out", f"gallery-{number}") for number in range(3)
    ]
    said.append(refused(capsys, lessons.main, "--exam", "sheet.txt"))
    assert mine.lost() == []
    names = ("index.html", "findings.json", "notebooks", "sheet.txt is a link")
    assert [name in one for name, one in zip(names, said, strict=True)] == [True] * 4


def test_the_cache(mine):
    def draw():
        return [np.ones((3, 2), np.uint8)]

    mine.file("cache/drawn-1-pixels.npy", "elsewhere/a.txt")
    mine.link("cache/drawn-2-pixels.npy", "elsewhere/a.txt")
    mine.pipe("cache/drawn-3-pixels.npy")
    found = [call(lambda _, n=n: int(render_once(f"drawn-{n}", (3, 2), draw).sum())) for n in (1, 2, 3, 4)]
    assert mine.lost() == []
    assert found == [6, 6, 6, 6]
    assert (mine.root / "cache" / "drawn-4-pixels.npy").is_file()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("place", ["table of the workers", "a file"])
def test_a_full_disk_is_named(place, code, tmp_path, lesions, monkeypatch, capsys):
    full = tmp_path / "full"
    full.mkdir()

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    if place == "table of the workers":
        monkeypatch.setattr(tempfile, "tempdir", str(full))
        monkeypatch.setattr(local, "pass_table", refuse)
        command = lambda: run_comparison(lesions, "none", "dummy", folds=2, jobs=1)  # noqa: E731
    else:
        monkeypatch.setattr(os, "fsync", refuse)
        command = lambda: write_atomically(full / "x", b"1")  # noqa: E731
    assert guarded(lambda: bool(command())) == 2
    assert str(full) in capsys.readouterr().err


def test_files_beside_the_user_do_not_hide_those_of_python(tmp_path):
    """What is called random.py there would end the command, and every worker process."""
    for name in ("random", "csv", "json", "secrets", "queue", "tempfile", "statistics"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hidden by ' + __file__)\n")
    (tmp_path / "mine.py").write_text("from sklearn.dummy import DummyClassifier as Mine\n")
    arguments = ["--synthetic", "100", "--models", "dummy", "mine:Mine", "--samplers", "none", "--folds", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    for command in (["skinmnist.compare", *arguments, "--jobs", "2"], ["skinmnist", "list", "models"]):
        run = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (run.returncode, "hidden by" in run.stdout + run.stderr) == (0, False), run.stderr


@pytest.mark.usefixtures("bare_figures")
@pytest.mark.parametrize("name", [b"caf\xe9.csv", b"\xff\xfe/t.csv", b"a/\x80b.csv"])
def test_names_that_are_no_utf_8_are_names(name, tmp_path, lesions, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = os.fsdecode(name)
    Path(path).parent.mkdir(exist_ok=True)
    rows = np.column_stack([lesions.pixels, lesions.labels])
    header = ",".join([*(f"pixel{column}" for column in range(192)), "label"])
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=header, comments="")
    with monkeypatch.context() as patch:  # The page is written once, by the command that has no other task.
        patch.setattr("skinmnist.reporting.page.render_page", lambda *_: "a page")
        assert compare.main([path, *COMPARE]) == 0
    (folder,) = Path("runs").iterdir()
    (folder / "report.html").unlink()
    assert report.main([str(folder)]) == 0
    assert train.main([path, "--model", "dummy", "--out", os.fsdecode(b"m\xe9.skm")]) == 0
    Image.fromarray(lesions.pixels[0].reshape(8, 8, 3)).save("p.png")
    assert predict.main([os.fsdecode(b"m\xe9.skm"), "p.png"]) == 0
    assert "Traceback" not in capsys.readouterr().err
