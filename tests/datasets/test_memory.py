"""Freed memory goes back to the system: after each cell in a worker, after each large picture on the page."""

import platform
import subprocess
import sys

import pytest

HOLES = """
import psutil
from skinmnist.datasets.memory import trim_memory
arrays = [bytearray(64_000) for _ in range(4_000)]
last = arrays.pop()
del arrays
before = psutil.Process().memory_info().rss
trim_memory()
print((before - psutil.Process().memory_info().rss) / 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked for its memory")
def test_freed_memory_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100
