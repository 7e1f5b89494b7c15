import base64
import http.client
import io
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from standing_in import Running, StandIn, parsed, speckled

import skinmnist
from skinmnist import facts
from skinmnist.inference.manifest import SetRule
from skinmnist.inference.prediction import SETS
from skinmnist.web.server import SECURITY_HEADERS

SERVING = Path(skinmnist.__file__).parent / "web"


def post(page, content, path="/api/classify", **headers):
    status, _, body = page.ask("POST", path, content, **headers)
    return status, json.loads(body)


def form(*parts, end=b"--\r\n"):
    """Return body and content type of a form with the given (disposition, content)."""
    body = b"".join(
        b"--edge\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return body + b"--edge" + end, "multipart/form-data; boundary=edge"


def test_the_page(page):
    status, headers, body = page.ask()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = body.decode()
    assert "Stand-in &lt;b&gt;model&lt;/b&gt;" in text
    assert "<b>model" not in text
    assert facts.DISCLAIMER.replace("'", "&#39;") in text
    assert "0.500 ± 0.100" in text
    for name, title in facts.CLASS_TITLES.items():
        assert f"<dt>{name}</dt><dd>{title.replace(chr(39), '&#39;')}</dd>" in text


def test_the_page_asks_nobody_else_and_holds_no_script(page):
    text = page.ask()[2].decode()
    for asset in set(re.findall(r'(?:src|href)="([^"]*)"', text)) - {"data:,"}:
        status, _, body = page.ask(path=f"/{asset}")
        assert status == 200
        assert b"http" not in body.replace(b"http://www.w3.org/2000/svg", b"")
    assert not re.search(r"<script(?![^>]* src=)|<style|style=|\son[a-z]+=", text)
    assert "innerHTML" not in (SERVING / "page.js").read_text()


def test_a_model_with_sets_says_what_they_hold(page):
    assert 'class="small promise"' not in page.ask()[2].decode()
    sets = SetRule(0.05, (0.1,) * 7, (30,) * 7, ("df",))

    class WithSets(StandIn):
        manifest = SimpleNamespace(synthetic=False, sets=sets, scores={})

        def classify(self, image):
            return replace(super().classify(image), conformal_set=("nv", "mel"), coverage=0.95)

    with Running(WithSets()) as running:
        text = running.ask()[2].decode()
        answer = post(running, speckled())[1]
    promise = "is meant to hold the right class in 95 of 100 pictures of each class"
    assert f"{SETS} {promise}; df is in every answer" in text
    assert answer["set"]["meaning"] == promise
    assert set(answer["set"]["classes"]) == {"nv", "mel"}


#: The server answers these itself, and asks no application.
NO_REQUESTS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
]


@pytest.mark.parametrize("request_bytes", NO_REQUESTS)
def test_no_http_is_answered_in_a_sentence(page, request_bytes):
    status, headers, body = parsed(page.raw(request_bytes))
    assert (status, headers["content-type"]) == (400, "application/json")
    assert "; expected one" in json.loads(body)["error"]


def test_a_busy_server_carries_the_headers(monkeypatch):
    monkeypatch.setattr("skinmnist.web.server.CONNECTIONS", 1)
    with Running() as busy:
        status, headers, _ = busy.ask()
    assert status == 503
    assert SECURITY_HEADERS.items() <= headers.items()


def test_every_answer_carries_the_headers(page):
    for status, headers, _ in (
        page.ask(),
        page.ask(path="/page.js"),
        page.ask(path="/none"),
        page.ask("PUT", "/api/classify"),
        page.ask("POST", "/api/classify", b"x"),
        page.ask(Host="evil.example"),
        page.ask("POST", "/api/classify", b"x", Content_Length="9" * 17),
        *(parsed(page.raw(line)) for line in NO_REQUESTS),
    ):
        assert status >= 200
        assert SECURITY_HEADERS.items() <= headers.items(), status
        assert "server" not in headers


def test_an_answer_is_the_models(page):
    status, told = post(page, speckled(101))
    assert status == 200
    assert told == StandIn().classify(speckled(101)).to_dict()
    assert told["notice"] == facts.DISCLAIMER


def test_pictures_come_along_where_asked_for(page):
    told = post(page, speckled(), "/api/classify?pictures=1")[1]
    for name, size in (("seen", (28, 28)), ("explanation", (56, 56))):
        kind, _, encoded = told[name].partition(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == size


def test_grey_models_show_grey(page):
    model = StandIn()
    model.shape = (8, 8, 1)
    with Running(model) as grey:
        seen = post(grey, speckled(), "/api/classify?pictures=1")[1]["seen"]
    assert Image.open(io.BytesIO(base64.b64decode(seen.partition(",")[2]))).mode == "L"


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "text/html", "nonsense", ""])
def test_the_body_is_the_picture_whatever_it_is_called(page, kind):
    assert post(page, speckled(), Content_Type=kind)[0] == 200


def test_the_file_of_a_form(page):
    content = speckled(50)
    tricky = content + b"\r\n--edgeless\r\n\r\n--edg"
    body, kind = form(
        (b'name="note"', b"hello"),
        (b'name="picture"; filename="../../etc/passwd<script>.png"\r\nContent-Type: image/png', tricky),
        (b'name="more"', b""),
    )
    status, told = post(page, body, Content_Type=kind)
    assert status == 200
    assert told == post(page, content)[1]
    assert "passwd" not in json.dumps(told)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        form((b'name="picture"', b"no file")),
        form((b'name="a"; filename="a"', b"1"), (b'name="b"; filename="b"', b"2")),
        form((b'name="a"; filename="a"', b"1"), end=b"\r\n"),
        (b"", "multipart/form-data; boundary=edge"),
        (b"x", "multipart/form-data"),
        (b"x", 'multipart/form-data; boundary="' + "e" * 71 + '"'),
        (b"\r\n--edge" * 5000, "multipart/form-data; boundary=edge"),
    ],
)
def test_forms_without_one_file(page, body, kind):
    status, told = post(page, body, Content_Type=kind)
    assert status == 400
    assert "; expected one" in told["error"]


def test_what_is_no_picture(page):
    for content in (b"", b"hello", b"<svg onload=alert(1)>", speckled()[:-40]):
        status, told = post(page, content)
        assert status == 422
        assert "expected" in told["error"] or "save it again" in told["error"]


def test_other_paths_and_methods(page):
    status, headers, body = page.ask(path="/api/classify")
    assert (status, headers["allow"]) == (405, "POST")
    assert "expected GET, or POST for /api/classify" in json.loads(body)["error"]
    for path in ("/page.html", "/../pyproject.toml", "/%2e%2e/app.py", "/api/", "//"):
        status, _, body = page.ask(path=path)
        assert status == 404
        assert json.loads(body)["error"].startswith("received an unknown path; expected / for the page")
    assert page.ask("HEAD")[2] == b""


def test_what_a_program_may_know(page):
    told = json.loads(page.ask(path="/api/model")[2])
    assert told["shape"] == [28, 28, 3]
    assert tuple(told["classes"]) == facts.CLASS_NAMES


def test_a_fault_inside_is_no_traceback(caplog):
    class Broken(StandIn):
        def classify(self, image):
            raise RuntimeError("secret")

    with Running(Broken()) as broken:
        status, headers, body = broken.ask("POST", "/api/classify", speckled())
        assert status == 500
        assert json.loads(body)["error"].endswith("its terminal shows the error")
        assert b"secret" not in body
        assert SECURITY_HEADERS.items() <= headers.items()
        assert broken.ask()[0] == 200


def test_many_at_once(page):
    """50 clients, three pictures each over one connection."""

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
        found = []
        for turn in range(3):
            level = (number * 3 + turn) % 200
            connection.request("POST", "/api/classify?pictures=1", speckled(level + 10))
            answer = connection.getresponse()
            found.append((answer.status, json.loads(answer.read())["label"], level))
        connection.close()
        return found

    with ThreadPoolExecutor(50) as clients:
        answers = [one for found in clients.map(client, range(50)) for one in found]
    assert len(answers) == 150
    model = StandIn()
    for status, label, level in answers:
        assert status == 200
        assert label == model.classify(speckled(level + 10)).label


def test_bodies_together_are_limited():
    import asyncio

    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    from skinmnist.web.server import Bodies

    async def receive():
        return {"type": "http.request", "body": bytes(60), "more_body": False}

    async def two_at_once():
        bodies = Bodies(limit=100)
        scope = {"type": "http", "headers": [], "method": "POST"}
        async with bodies.picture(Request(scope, receive)) as first:
            with pytest.raises(HTTPException) as refusal:
                async with bodies.picture(Request(scope, receive)):
                    pass
            assert len(first) == 60
        async with bodies.picture(Request(scope, receive)) as later:
            return refusal.value.status_code, len(later)

    assert asyncio.run(two_at_once()) == (503, 60)


def test_nothing_is_stored(page, tmp_path, monkeypatch):
    """A large form, which web frameworks are used to keep in a temporary file."""
    import tempfile

    def refuse(*_, **__):
        raise AssertionError("a temporary file was opened")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1000, 1000, 3)).astype(np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "BMP")
    body, kind = form((b'name="p"; filename="p"', buffer.getvalue()))
    assert post(page, body, Content_Type=kind)[0] == 200


def test_the_colours_are_the_reports():
    from skinmnist.reporting import theme

    css = (SERVING / "page.css").read_text()
    light, dark = css.split("@media screen", 1)
    report = (SERVING.parent / "reporting" / "style.css").read_text()
    for part, hues, own in ((light, theme.LIGHT, report.split("@media")[0]), (dark, theme.DARK, report)):
        found = dict(re.findall(r"--([a-z-]+): (.*?);", part.split("*, *::before")[0]))
        for name in ("ink", "muted", "line", "heat", "on-heat", "blue", "vermillion"):
            assert found[name] == hues[name]
        for name in ("paper", "surface", "wash", "loud", "loud-edge"):
            assert f"--{name}: {found[name]};" in own
    assert f"--sans: {theme.SANS};" in light


def test_nothing_that_trains_is_imported():
    code = (
        "import sys, skinmnist.serve, skinmnist.web.app, skinmnist.web.server; "
        "from skinmnist.inference.classifier import load_classifier; "
        "sys.exit(any(name.split('.')[0] in {'sklearn', 'keras', 'tensorflow', 'pandas', 'matplotlib'} "
        "for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sample_pictures_are_small_and_differ(page):
    found = [page.ask(path=f"/samples/{number}.png") for number in range(8)]
    assert {status for status, _, _ in found} == {200}
    pictures = [Image.open(io.BytesIO(body)) for _, _, body in found]
    assert {(picture.format, picture.size) for picture in pictures} == {("PNG", (96, 96))}
    assert len({body for _, _, body in found}) == 8
    assert sum(len(body) for _, _, body in found) < 2**18


@pytest.mark.parametrize("number", ["8", "-1", "00", "1e0", "9" * 5000, "\u0661", ""])
def test_other_numbers_of_samples_are_unknown_paths(page, number):
    assert page.ask(path=f"/samples/{quote(number)}.png")[0] == 404


def test_only_models_of_these_classes_have_samples(page):
    class Other(StandIn):
        class_names = ("b_cell", "t_cell")
        full_names = class_names

    assert page.ask()[2].count(b'class="sample"') == 8
    with Running(Other()) as running:
        assert b'class="sample"' not in running.ask()[2]
