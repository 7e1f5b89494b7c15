import os
import subprocess
import sys

import pytest

from skinmnist import doctor
from skinmnist.doctor import NEEDED, examine, find_problems, main

SOUND = {
    "versions": {**dict.fromkeys(NEEDED, "2.21.0"), "python": "3.11.7", "tensorflow-cpu": "2.21.0"}
    | {"scikit-learn": "1.9.1"},
    "system": "Linux 6.1 (x86_64)",
    "processor": "some processor",
    "AVX": True,
    "network precision": "float32",
    "cores": 2,
    "cores over time": 2,
    "memory (MB)": 8000,
    "free memory (MB)": 6000,
    "disk": {"temporary folder (MB)": 10000, "cache folder (MB)": 10000},
    "data": "data/hmnist_28_28_RGB.csv",
    "variables": {"OMP_NUM_THREADS": "1"},
}


def test_a_sound_machine_has_no_problems():
    assert find_problems(SOUND) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"versions": {**SOUND["versions"], "python": "3.9.1"}}, "use 3.11, 3.12 or 3.13"),
        ({"versions": {**SOUND["versions"], "scikit-learn": "1.7.2"}}, "install scikit-learn 1.9"),
        ({"versions": {**SOUND["versions"], "scikit-learn": "1.10.0"}}, "install scikit-learn 1.9"),
        ({"versions": {**SOUND["versions"], "tensorflow": "2.20.0"}}, "overwrite each other"),
        ({"versions": {"python": "3.12.1"}}, "numpy, scipy"),
        ({"AVX": False}, "no AVX"),
        (
            {"cores": 64, "cores over time": 1.5, "free memory (MB)": 10**6},
            "64 cores are visible, but only 1.5 may be used",
        ),
        ({"free memory (MB)": 1000}, "smaller --jobs"),
        ({"disk": {"temporary folder (MB)": 20}}, "temporary folder (MB): read-only or nearly full"),
    ],
)
def test_each_problem_is_one_sentence(change, said):
    (sentence,) = find_problems(SOUND | change)
    assert said in sentence


def test_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "not" / "yet"))
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path / "nowhere"))
    found = examine()
    assert found.keys() == SOUND.keys()
    assert found["variables"]["SKINMNIST_CACHE"] == str(tmp_path / "not" / "yet")
    assert "does not exist" in str(found["data"])
    assert 0 < found["free memory (MB)"] <= found["memory (MB)"]
    assert found["cores"] >= 1
    assert found["disk"]["cache folder (MB)"] > 0
    assert not (tmp_path / "not").exists()


def test_a_folder_that_cannot_be_written_has_no_space(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert doctor._free(tmp_path) == 0


def test_the_doctor_prints_what_a_bug_report_needs(capsys):
    assert main([]) in (0, 1)
    printed = capsys.readouterr().out
    for word in ("skinmnist 0", "scikit-learn", "AVX", "cores", "memory", "cache", "data", "Known problems"):
        assert word in printed


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from skinmnist.doctor import build_parser; build_parser();"
        "print(sorted({'numpy', 'pandas', 'sklearn', 'tensorflow'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
