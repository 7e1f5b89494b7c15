import subprocess
import sys

from skinmnist.experiment.execution.machine import PeakMemory, available_cores, hardware, versions


def test_peak_memory_sees_what_is_gone_again():
    with PeakMemory(children=False, interval=0.01) as peak:
        before = peak.megabytes
        block = bytearray(200 * 2**20)
        block[::4096] = b"x" * len(block[::4096])
        peak._stop.wait(0.1)
        del block
    assert peak.megabytes > before + 200


#: A process of its own, for what a process shares with its neighbours, and what it gives back, changes here.
PARENT = """
import subprocess, sys
from skinmnist.experiment.execution.machine import PeakMemory

child = "block = b'x' * (150 * 2**20); import time; time.sleep(1)"
with PeakMemory(children=False, interval=0.05) as alone, PeakMemory(interval=0.05) as family:
    subprocess.run([sys.executable, "-c", child], check=True)
print(family.megabytes - alone.megabytes)
"""


def test_peak_memory_counts_children():
    printed = subprocess.run([sys.executable, "-c", PARENT], check=True, capture_output=True, text=True)
    assert float(printed.stdout) > 100


def test_hardware_and_versions_are_described():
    assert hardware()["cores"] == available_cores() >= 1
    assert hardware()["memory_gb"] > 0
    assert versions()["python"] == sys.version.split()[0]
    assert {"numpy", "scikit-learn", "imbalanced-learn"} <= versions().keys()
