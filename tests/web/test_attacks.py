"""Attacks over raw sockets: each is refused or cut off, and the server still answers afterwards."""

import json
import os
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from standing_in import Running, parsed, speckled

from skinmnist.datasets.images.pictures import MAX_BYTES

#: Seconds after which a slow client is cut off here.
PATIENCE = 2.0


@pytest.fixture(scope="module")
def target():
    with Running(patience=PATIENCE) as running:
        yield running


@pytest.fixture(autouse=True)
def still_answers(target):
    yield
    status, _, body = target.ask("POST", "/api/classify", speckled())
    assert (status, json.loads(body)["label"] != "") == (200, True)


def requested(target, body=b"picture", method="POST", path="/api/classify", **headers):
    """Return a request as bytes; a header that is None is left out, one that is a list is repeated."""
    lines = {"Host": f"127.0.0.1:{target.port}", "Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"{method} {path} HTTP/1.1\r\n"
    for name, values in lines.items():
        for value in values if isinstance(values, list) else [] if values is None else [values]:
            head += f"{name}: {value}\r\n"
    return head.encode("latin-1") + b"\r\n" + body


def status_of(target, *parts):
    return parsed(target.raw(*parts))[0]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "2130706433",
        "192.168.0.1",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_foreign_hosts_and_rebinding(target, host, method):
    assert status_of(target, requested(target, method=method, Host=host)) == 421


def test_no_host_or_two(target):
    assert status_of(target, requested(target, Host=None)) == 400
    assert status_of(target, requested(target, Host=["localhost", "evil.example"])) == 400
    assert status_of(target, b"GET / HTTP/1.0\r\n\r\n") == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Origin": ["http://127.0.0.1:{port}", "http://evil.example"]},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://evil.example", "Content_Type": "text/plain"},
    ],
)
def test_other_pages_may_not_post(target, headers):
    def filled(value):
        return [filled(one) for one in value] if isinstance(value, list) else value.replace("{port}", port)

    port = str(target.port)
    found = {name: filled(value) for name, value in headers.items()}
    assert status_of(target, requested(target, speckled(), **found)) == 403


def test_the_own_page_may(target):
    origin = f"http://127.0.0.1:{target.port}"
    assert (
        status_of(target, requested(target, speckled(), Origin=origin, Sec_Fetch_Site="same-origin")) == 200
    )


def test_a_preflight_gets_no_leave(target):
    asked = {"Origin": "http://evil.example", "Access_Control_Request_Method": "POST"}
    status, headers, _ = parsed(target.raw(requested(target, b"", "OPTIONS", **asked)))
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control")]


def test_a_body_that_is_announced_too_large(target):
    head = requested(target, b"", Content_Length=str(MAX_BYTES + 1), Expect="100-continue")
    status, _, body = parsed(target.raw(head))
    assert (status, b"more than 32 MB" in body) == (413, True)
    assert status_of(target, requested(target, b"", Content_Length="9" * 30)) in (400, 413)


def test_an_endless_body_in_chunks(target):
    head = requested(target, b"", Content_Length=None, Transfer_Encoding="chunked")
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
        connection.sendall(head)
        try:
            while sent < 200:
                connection.sendall(chunk)
                sent += 1
        except OSError:
            pass
    assert 32 <= sent < 60


@pytest.mark.parametrize(
    "changes",
    [
        {"Content_Length": "-1"},
        {"Content_Length": ["7", "8"]},
        {"Content_Length": "7", "Transfer_Encoding": "chunked"},
        {"Content_Length": None, "Transfer_Encoding": "chunked, chunked"},
        {"X": "a\x00b"},
        {"Y": ["many"] * 20_000},
        {"Bad Header": "x"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_malformed_requests(target, changes):
    assert status_of(target, requested(target, **changes)) in (0, 400)


@pytest.mark.parametrize(
    "changes", [{"X": "a\r\n b"}, {"X" * 70_000: "long"}, {"X": "long" * 20_000}], ids=len
)
def test_odd_requests_are_refused_or_answered_as_any(target, changes):
    assert status_of(target, requested(target, **changes)) in (0, 400, 422)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /../../etc/passwd HTTP/1.1",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
        b"GET /..%5c..%5cetc/passwd HTTP/1.1",
        b"GET //etc/passwd HTTP/1.1",
        b"GET /page.js%00.png HTTP/1.1",
        b"GET http://evil.example/ HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"DELETE / HTTP/1.1",
        b"GET /<script>alert(1)</script> HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x00" * 100,
    ],
)
def test_wild_paths_and_methods(target, line):
    answer = target.raw(line + f"\r\nHost: 127.0.0.1:{target.port}\r\nConnection: close\r\n\r\n".encode())
    status, headers, body = parsed(answer)
    assert status in (0, 400, 404, 405)
    assert b"root:" not in body
    assert b"<script>" not in body
    assert "location" not in headers


def test_an_upgrade_is_not_followed(target):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "x" * 22 + "=="}
    status = status_of(target, requested(target, b"", "GET", "/", Sec_WebSocket_Version="13", **upgrade))
    assert status == 200  # Answered as the ordinary request that it also is.


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>.png",
        "../../../../tmp/evil.png",
        "..\\..\\evil.png",
        "/etc/passwd",
        "a\x00b.png",
        "a" * 5000 + ".png",
        "\u202egnp.exe",
        '"; filename="b.png',
    ],
)
def test_names_with_markup_or_dots(target, name, tmp_path, monkeypatch):
    def refuse(*arguments, **_):
        raise AssertionError(f"a file was opened: {arguments}")

    head = b'--e\r\nContent-Disposition: form-data; name="p"; filename="' + name.encode() + b'"\r\n\r\n'
    form = head + b"no picture\r\n--e--\r\n"
    request = requested(target, form, Content_Type="multipart/form-data; boundary=e")
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    status, _, body = parsed(target.raw(request))
    assert status == 422
    assert json.loads(body)["error"].startswith("received a file that begins with b'no pictu'")


def cut_off(target, send):
    """Open a connection, do something slow with it, and return the seconds until it is closed."""
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", target.port), timeout=15) as connection:
        try:
            send(connection)
            while connection.recv(65_536):
                pass
        except OSError:
            pass
    return time.perf_counter() - start


def dripping(*beginning):
    def send(connection):
        for part in beginning:
            connection.sendall(part)
        for _ in range(100):
            connection.sendall(b"X")
            time.sleep(0.1)

    return send


def test_slow_clients_are_cut_off(target):
    """One says nothing, one drips its head, one its body, one stops in the middle; all at once."""
    sends = [
        lambda connection: None,
        dripping(),
        dripping(b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
        dripping(requested(target, b"", Content_Length="1000000")),
        lambda connection: connection.sendall(requested(target, b"half", Content_Length="100")),
    ]
    with ThreadPoolExecutor(len(sends)) as attackers:
        seconds = list(attackers.map(lambda send: cut_off(target, send), sends))
    assert max(seconds) < PATIENCE + 6


def test_a_client_that_does_not_read_is_cut_off(target):
    request = requested(target, b"", "GET", "/page.css", Connection="keep-alive")
    before = len(target.server.server_state.connections)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect(("127.0.0.1", target.port))
        connection.sendall(request * 4000)
        time.sleep(1)
        assert len(target.server.server_state.connections) > before
        deadline = time.monotonic() + PATIENCE + 20
        while len(target.server.server_state.connections) > before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(target.server.server_state.connections) <= before


def test_many_open_connections(target):
    """More than the server takes: those who come later are asked to try again, until the slow are cut off."""
    waiting = [socket.create_connection(("127.0.0.1", target.port)) for _ in range(230)]
    time.sleep(PATIENCE + 1.5)
    for connection in waiting:
        connection.close()


def test_clients_that_break_off(target):
    for end in (10, 100, 200):
        with socket.create_connection(("127.0.0.1", target.port)) as connection:
            # A reset, not an end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(requested(target, bytes(5000), path="/api/classify?pictures=1")[:end])


def test_requests_in_a_row_without_waiting(target):
    one = requested(target, speckled(), Connection="keep-alive")
    last = requested(target, speckled())
    assert target.raw(one * 9 + last).count(b"HTTP/1.1 200 OK") == 10


def test_slow_ones_hold_nobody_up(target):
    """While 40 drip their bodies, another is answered."""
    stop = threading.Event()

    def drip():
        with socket.create_connection(("127.0.0.1", target.port)) as connection:
            connection.sendall(requested(target, b"", Content_Length="1000000"))
            stop.wait(10)

    threads = [threading.Thread(target=drip) for _ in range(40)]
    for thread in threads:
        thread.start()
    try:
        assert target.ask("POST", "/api/classify", speckled())[0] == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
