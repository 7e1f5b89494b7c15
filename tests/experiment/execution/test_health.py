import dataclasses

import pytest

from skinmnist.experiment.execution import health
from skinmnist.experiment.execution.health import Health, examine, find_troubles

SOUND = Health(
    versions={
        "python": "3.11.7",
        "numpy": "2.4.6",
        "scipy": "1.17.1",
        "pandas": "3.1.1",
        "scikit-learn": "1.9.1",
        "imbalanced-learn": "0.14.2",
        "joblib": "1.6.0",
        "keras": "3.15.1",
        "matplotlib": "3.11.2",
        "tensorflow-cpu": "2.21.0",
    },
    cpu="some processor",
    system="Linux 6.1 (x86_64)",
    flags=("avx", "avx2"),
    precision="float32",
    cores=2,
    quota=None,
    memory_mb=8000,
    free_memory_mb=6000,
    free_disk_mb={"temporary": 10000, "cache": -1, "working": 10000},
    writable={"temporary": True, "cache": True, "working": True},
    cache="/cache",
    cache_files=0,
    cache_mb=0,
    variables={"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"},
)


def test_a_sound_machine_has_no_troubles():
    assert find_troubles(SOUND) == []


CASES = [
    ({"versions": {**SOUND.versions, "python": "3.9.1"}}, "use 3.11, 3.12 or 3.13"),
    ({"versions": {**SOUND.versions, "scikit-learn": "1.7.2"}}, "install scikit-learn 1.9"),
    ({"versions": {**SOUND.versions, "scikit-learn": "1.10.0"}}, "install scikit-learn 1.9"),
    ({"versions": {**SOUND.versions, "tensorflow": "2.20.0"}}, "over each other"),
    ({"versions": {"python": "3.12.1"}}, "numpy, scipy"),
    ({"variables": {"TF_USE_LEGACY_KERAS": "1"}}, "Keras 2"),
    ({"variables": {"KERAS_BACKEND": "jax"}}, "'jax'"),
    ({"flags": ("fma",)}, "no AVX"),
    ({"cores": 64, "quota": 1.5, "free_memory_mb": 10**6}, "64 cores are seen but 1.5 may be used"),
    ({"free_memory_mb": 1000}, "smaller --jobs"),
    ({"free_disk_mb": {"temporary": 20, "cache": -1}}, "less than 500 MB are free for the temporary"),
    ({"writable": {"cache": False}}, "the cache folder cannot be written"),
]


@pytest.mark.parametrize(("change", "said"), CASES)
def test_each_trouble_is_one_sentence(change, said):
    (sentence,) = find_troubles(dataclasses.replace(SOUND, **change))
    assert said in sentence


def test_every_check_has_a_case():
    troubled = [dataclasses.replace(SOUND, **change) for change, _ in CASES]
    for check in health._CHECKS:
        assert any(check(found) for found in troubled), check.__name__


def test_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path))
    (tmp_path / "a").write_bytes(bytes(2**20))
    found = examine()
    assert (found.cache, found.cache_files, found.cache_mb) == (str(tmp_path), 1, 1.0)
    assert found.variables["SKINMNIST_CACHE"] == str(tmp_path)
    assert 0 < found.free_memory_mb <= found.memory_mb
    assert found.writable == {"temporary": True, "cache": True, "working": True}
    assert found.cores >= 1


def test_a_cache_that_is_not_there_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_CACHE", str(tmp_path / "not" / "yet"))
    found = examine()
    assert found.cache_files == 0
    assert found.free_disk_mb["cache"] > 0
    assert not (tmp_path / "not").exists()
