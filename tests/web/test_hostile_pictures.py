"""Pictures that are made to be slow or large, sent to a server in a process of its own."""

import http.client
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from golden_pictures import saved
from hostile_pictures import HOSTILE
from PIL import Image
from standing_in import StandIn, speckled

SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from standing_in import Running
with Running(patience=120) as running:
    print(running.port, flush=True)
    sys.stdin.read()
"""
MEGABYTE = 2**20
#: Megabytes above the start: while a picture is refused, and after all of them.
MOST_MEMORY, MEMORY_LEFT = 300, 100


class Server:
    """A server process: what it answers and how long that takes, and the memory that it holds."""

    def __init__(self, process):
        self._process = process
        self._memory = psutil.Process(process.pid)
        self.port = int(process.stdout.readline())

    def post(self, content, timeout=60):
        """Return status, what was told, and seconds."""
        begin = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", "/api/classify", content)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), time.perf_counter() - begin
        finally:
            connection.close()

    def processor_seconds(self):
        return sum(self._memory.cpu_times()[:2])

    def memory(self):
        return self._memory.memory_info().rss / MEGABYTE

    def settled(self, most):
        """Return the memory as soon as it is below a limit, or after some seconds."""
        end = time.monotonic() + 10
        while self.memory() > most and time.monotonic() < end:
            time.sleep(0.1)
        return self.memory()

    @contextmanager
    def peak(self):
        """Yield a list that receives the most memory while the block runs."""
        stop, found = threading.Event(), [self.memory()]

        def watch():
            while not stop.wait(0.01):
                found[0] = max(found[0], self.memory())

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield found
        finally:
            stop.set()
            watching.join()


@contextmanager
def serving():
    command = [sys.executable, "-c", SERVER, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            server = Server(process)
            assert server.post(speckled())[0] == 200
            yield server
        finally:
            process.kill()


@pytest.fixture
def server():
    with serving() as running:
        yield running


def attacked(server, contents):
    """Send pictures at once and an honest one meanwhile; return their answers, its answer, and the memory."""
    with server.peak() as peak, ThreadPoolExecutor(len(contents) + 1) as clients:
        hostile = [clients.submit(server.post, content) for content in contents]
        time.sleep(0.02)
        honest = clients.submit(server.post, speckled())
        answers = [one.result() for one in hostile]
        return answers, honest.result(), peak


def check_each(server, names, slowest, slowest_honest):
    """Check hostile pictures one by one, and print the slowest and the largest."""
    start = server.memory()
    slow, slow_honest, large, busy = {}, {}, {}, {}
    for name in names:
        make, expected = HOSTILE[name]
        before, busy[name] = server.memory(), -server.processor_seconds()
        [(status, told, seconds)], honest, peak = attacked(server, [make()])
        assert (status, honest[0]) == (422, 200), name
        assert expected in told["error"], name
        assert told["error"].isprintable()
        slow[name], slow_honest[name], large[name] = seconds, honest[2], peak[0] - before
        busy[name] += server.processor_seconds()
    left = server.settled(start + MEMORY_LEFT) - start
    slowest_found, busiest, largest = (max(found.values()) for found in (slow, busy, large))
    print(
        f"\n{len(slow)} pictures refused within {slowest_found:.2f} s ({busiest:.2f} s of the processor) and "
        f"{largest:.0f} MB; honest ones answered within {max(slow_honest.values()):.2f} s; {left:.0f} MB left"
    )
    assert max(slow.values()) < slowest, max(slow, key=slow.get)
    assert max(slow_honest.values()) < slowest_honest, max(slow_honest, key=slow_honest.get)
    assert max(large.values()) < MOST_MEMORY, max(large, key=large.get)
    assert left < MEMORY_LEFT


def test_some_are_refused_while_an_honest_one_is_answered(server):
    """A third of them, within ten times the seconds that it should take: a busy machine fails nothing."""
    check_each(server, list(HOSTILE)[::3], slowest=10, slowest_honest=20)


@pytest.mark.slow
def test_each_is_refused_at_once(server):
    """Alone on the machine: within a second each, and the honest one within two."""
    assert len(HOSTILE) >= 30
    check_each(server, HOSTILE, slowest=1, slowest_honest=2)


def test_several_at_once_starve_no_honest_one(server):
    content = HOSTILE["JPEG of empty segments"][0]()
    start = server.memory()
    answers, honest, _ = attacked(server, [content] * 4)
    assert [answer[0] for answer in answers] == [422] * 4
    assert honest[0] == 200
    assert honest[2] < 15
    assert server.settled(start + MEMORY_LEFT) < start + MEMORY_LEFT


def test_large_honest_pictures_are_answered_and_leave_no_memory(server):
    levels = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    picture = Image.fromarray(levels).resize((3000, 3000)).convert("RGBA")
    content = saved(picture, "PNG", compress_level=1)
    picture.close()
    start = server.memory()
    answers, honest, _ = attacked(server, [content] * 2)
    expected = StandIn().classify(content).to_dict()
    assert [answer[:2] for answer in answers] == [(200, expected)] * 2
    assert honest[0] == 200
    assert honest[2] < max(answer[2] for answer in answers)
    assert server.settled(start + MEMORY_LEFT) < start + MEMORY_LEFT
