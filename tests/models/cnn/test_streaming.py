"""A network that reads its rows from a mapped file, some batches at a time."""

import numpy as np
import pytest
from sklearn.base import clone

from skinmnist.datasets.mapped import MappedRows
from skinmnist.errors import InputError
from skinmnist.models.cnn.classifier import CNNClassifier

SHAPE = (8, 8, 3)
SMALL = {"steps": 6, "batch_size": 16, "channels": (8,), "pairs": (1,)}


def make_rows(n=60):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 192), dtype=np.uint8), np.arange(n) % 3


@pytest.fixture(scope="module")
def table():
    return make_rows()


@pytest.mark.parametrize("remedy", [{}, {"balance": "sqrt_batches"}])
def test_mapped_rows_give_the_weights_of_rows_in_memory_bit_for_bit(table, monkeypatch, strategy):
    monkeypatch.setattr("skinmnist.models.cnn.feed.FED_STEPS", 4)
    pixels, labels = table
    chosen = np.arange(0, len(labels), 2)[::-1].copy()
    sample_indices = np.repeat(np.arange(len(chosen)), 2)
    held = CNNClassifier(SHAPE, **SMALL, **strategy, random_state=1)
    mapped = clone(held).fit(MappedRows(pixels, chosen), labels[chosen], sample_indices=sample_indices)
    held.fit(pixels[chosen], labels[chosen], sample_indices=sample_indices)
    for first, second in zip(held.weights_, mapped.weights_, strict=True):
        assert first.tobytes() == second.tobytes()
    np.testing.assert_allclose(mapped.history_["loss"], held.history_["loss"], rtol=1e-5)
    np.testing.assert_allclose(mapped.history_["accuracy"], held.history_["accuracy"], rtol=1e-5)


def test_mapped_rows_are_read_some_batches_at_a_time(table, monkeypatch):
    pixels, labels = make_rows(n=400)
    read = []

    class Noted(MappedRows):
        def __getitem__(self, which):
            found = super().__getitem__(which)
            return Noted(found.source, found.rows, found.row_shape)

        def reshape(self, n, *row_shape):
            return Noted(self.source, self.rows, row_shape)

        def __array__(self, dtype=None, copy=None):
            read.append(len(self))
            return super().__array__(dtype, copy)

    monkeypatch.setattr("skinmnist.models.cnn.feed.FED_STEPS", 4)
    CNNClassifier(SHAPE, **SMALL).fit(Noted(pixels, np.arange(400)), labels)
    assert max(read) <= 256
    assert len(read) > 2


@pytest.mark.parametrize(
    "rows", [np.zeros((4, 191), np.uint8), np.zeros((4, 192)), np.zeros((0, 192), np.uint8)]
)
def test_mapped_rows_that_are_no_pixels_are_refused(rows):
    with pytest.raises(InputError, match="unscaled pixels"):
        CNNClassifier(SHAPE).fit(MappedRows(rows, np.arange(len(rows))), np.arange(len(rows)))


def test_descriptors_are_made_of_mapped_rows(table):
    pixels, labels = table
    settings = {**SMALL, "describer": (4,), "steps": 2}
    held = CNNClassifier(SHAPE, **settings).fit(pixels, labels)
    mapped = CNNClassifier(SHAPE, **settings).fit(MappedRows(pixels, np.arange(len(labels))), labels)
    for first, second in zip(held.weights_, mapped.weights_, strict=True):
        assert first.tobytes() == second.tobytes()
