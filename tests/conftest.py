"""What tests share: a small table, where the real tables are, and a web server that misbehaves."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# As in the workers, and before a library starts its threads: they get into each other's way on so few rows.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pytest

from skinmnist import facts, make_lesions
from skinmnist.datasets.table import PixelTable

#: Files that take longest, some for few tests: begun first, so that no process ends with one of them alone.
LONG = (
    "test_lessons.py",
    "test_kills.py",
    "test_compare.py",
    "test_dask.py",
    "test_any_table.py",
    "test_faulty_disk.py",
    "test_faults.py",
    "presets/test_run.py",
    "cnn/test_stacked.py",
    "cnn/test_backend.py",
    "test_user_files.py",
    "test_page.py",
    "test_html_oddities.py",
)


def pytest_collection_modifyitems(items):
    """Order files as the processes of a run shall begin them; see ``--no-loadscope-reorder``."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


@pytest.fixture(scope="session")
def lesions() -> PixelTable:
    """360 small pictures of seven classes, each with at least five lesions."""
    return make_lesions(360, size=8, random_state=1)


@pytest.fixture(scope="session")
def real_tables() -> Path:
    """The folder of the real tables; the test is skipped where there is none."""
    root = Path(__file__).parent.parent
    folder = Path(os.environ.get("SKINMNIST_DATA") or root.parent / "shared" / "data")
    if not (folder / "hmnist_8_8_RGB.csv").is_file():
        pytest.skip("the real tables are not here: set SKINMNIST_DATA to a folder that holds them")
    return folder


@contextmanager
def laid_out_only() -> Iterator[None]:
    """Leave figures undrawn on their way into pages."""

    def save(figure, stream, **_):
        stream.write(b'<svg width="1pt" height="1pt"></svg>')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", save)
        yield


@pytest.fixture(scope="session")
def undrawn():
    """A context for tests of a page's words: its figures are laid out and not drawn, in half the time."""
    return laid_out_only


@pytest.fixture
def bare_figures(undrawn):
    """The context ``undrawn`` around a test."""
    with undrawn():
        yield


@pytest.fixture
def no_page(monkeypatch):
    """Write a word in place of each report: drawing it takes most of a small run."""
    page = '<meta name="generator" content="skinmnist of a test">'
    monkeypatch.setattr("skinmnist.reporting.page.render_page", lambda analysis, jobs=1: page)


class Mirror(ThreadingHTTPServer):
    """A small web server of this machine that misbehaves where it is told to.

    Attributes
    ----------
    files : dict of str to bytes
        By path, such as ``"/a.csv"``.
    cuts : dict of str to list of int
        After how many bytes of the body the connection is closed, for each of the next answers.
    redirects : dict of str to str
    ranges, tags : bool
        Whether parts are served, and whether answers tell the version of the file.
    raw : dict of str to list of bytes
        All that is sent, head and body, for each of the next answers.
    interrupted : list of str
        Paths of those that the client did not read to their end.
    silent : set of str
        Paths whose answers do not tell their length.
    asked : list of (str, str or None)
        Path and range of every request.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), MirrorHandler)
        self.files, self.cuts, self.redirects, self.silent = {}, {}, {}, set()
        self.raw, self.interrupted = {}, []
        self.ranges = self.tags = True
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """Clients that have read enough leave."""


class MirrorHandler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self):
        mirror = self.server
        asked = self.headers.get("Range")
        mirror.asked.append((self.path, asked))
        if mirror.raw.get(self.path):
            try:
                self.wfile.write(mirror.raw[self.path].pop(0))
            except ConnectionError:
                mirror.interrupted.append(self.path)
            return
        if self.path in mirror.redirects:
            self.send_response(302)
            self.send_header("Location", mirror.redirects[self.path])
            self.end_headers()
            return
        self.path = self.path.partition("?")[0]
        if self.path not in mirror.files:
            self.send_error(404)
            return
        content = mirror.files[self.path]
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and mirror.ranges else 0
        if start and self.headers.get("If-Range") != tag:
            start = 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if mirror.tags:
            self.send_header("ETag", tag)
        if self.path not in mirror.silent:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cuts = mirror.cuts.get(self.path)
        self.wfile.write(content[start:][: cuts.pop(0) if cuts else None])

    def log_message(self, *_):
        pass


@contextmanager
def serving(server: Mirror) -> Iterator[Mirror]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror()) as server:
        yield server


@pytest.fixture
def collection():
    """A collection of seven pictures, one of each class."""
    random = np.random.default_rng(0)
    files = {}
    for name in facts.COLLECTION_TABLES:
        pixels = int(name.split("_")[1]) ** 2 * (3 if "RGB" in name else 1)
        lines = [",".join([*(f"pixel{column:04d}" for column in range(pixels)), "label"])]
        lines += [",".join(map(str, [*random.integers(0, 256, pixels), code])) for code in range(7)]
        files[name] = ("\n".join(lines) + "\n").encode()
    rows = [f"L{code},I{code},{name},histo,50,male,back" for code, name in enumerate(facts.CLASS_NAMES)]
    files[facts.METADATA_FILE] = "\n".join([",".join(facts.METADATA_COLUMNS), *rows, ""]).encode()
    return files
