"""What the tests of the data layer share: a cache folder of their own, small tables, and the real ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache folder, and return it."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SKINMNIST_CACHE", str(folder))
    return folder


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of pixel tables that shares no code with the package."""

    def write(
        pixels, labels, name="table.csv", *, label_first=False, column="pixel{:04d}", start=0, end="\n"
    ):
        names = [column.format(start + index) for index in range(np.shape(pixels)[1])]
        rows = [["label", *names] if label_first else [*names, "label"]]
        for row, label in zip(pixels, labels, strict=True):
            rows.append([label, *row] if label_first else [*row, label])
        path = tmp_path / name
        path.write_bytes("".join(",".join(map(str, row)) + end for row in rows).encode())
        return path

    return write


@pytest.fixture
def seven_classes(write_table: Callable[..., Path]) -> Path:
    """Write a grey 2 x 2 table of nine rows with the codes 0 to 6, 3 and 4, and return its path."""
    return write_table(np.arange(36).reshape(9, 4), [0, 1, 2, 3, 4, 5, 6, 3, 4])


@pytest.fixture
def random_table() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return a maker of random rows, with numbers of one to three digits, and of labels with every code."""

    def sample(side, channels, n=20, k=3, seed=0):
        random = np.random.default_rng(seed)
        pixels = random.integers(0, random.choice([10, 100, 256], size=(n, 1)), (n, side * side * channels))
        return pixels, random.permutation(np.arange(n) % k)

    return sample


@pytest.fixture
def complaint() -> Callable[..., str]:
    """Return a loader of bad tables that returns the one sentence of the error."""

    def load(path, **kwargs):
        with pytest.raises(InputError) as error:
            load_hmnist(path, **kwargs)
        assert "\n" not in str(error.value)
        return str(error.value)

    return load
