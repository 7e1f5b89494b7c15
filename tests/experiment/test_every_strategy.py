"""Every registered sampler and strategy, on tables of few and many classes, in colour and grey."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Task, fit_cell
from skinmnist.experiment.grid import resolve_samplers
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import ModelSpec, Setting
from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES

#: Number of classes and channels.
TABLES = [(2, 3), (7, 1), (20, 3)]
NAMES = [name for name, known in {**STRATEGIES, **SAMPLERS}.items() if not known.same_as]


@cache
def table_of(n_classes: int, channels: int) -> PixelTable:
    """Return a table whose last class has three pictures, and whose classes differ in brightness."""
    rng = np.random.default_rng(n_classes)
    sizes = [*np.linspace(40, 12, n_classes - 1).astype(int), 3]
    labels = np.repeat(np.arange(n_classes), sizes)
    pixels = rng.normal(70 + 6 * labels[:, None], 25, (len(labels), 64 * channels))
    names = tuple(f"class {code}" for code in range(n_classes))
    return PixelTable(pixels.clip(0, 255).astype(np.uint8), labels, names, (8, 8, channels))


def _line(setting: Setting) -> LogisticRegression:
    return LogisticRegression(max_iter=20, tol=1)


def _network(setting: Setting):
    from skinmnist.models.cnn.classifier import CNNClassifier

    return CNNClassifier(
        setting.shape, steps=2, batch_size=16, channels=(4,), pairs=(0,), views=1, points=1, random_state=0
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# A sampler that drops most rows leaves few for each class.
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n_classes", "channels"), TABLES)
def test_a_cell_of_every_strategy(name, n_classes, channels):
    table = table_of(n_classes, channels)
    known = STRATEGIES.get(name) or SAMPLERS[name]
    spec = ModelSpec("line", _line, weights=True)
    if known.needs == "networks":
        spec = replace(MODELS["cnn"], classifier=_network)
    fold_of = np.where(np.arange(len(table)) % 4 == 0, 0, 1).astype(np.int8)
    fold_of[-3:] = 1
    task = Task(fold_of[None], False, {"model": spec}, resolve_samplers([name]), seed=0)
    result = fit_cell(Cell(name, "model", 0, 0), table, task)
    assert result.probabilities.shape == (np.count_nonzero(fold_of == 0), n_classes)
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1)
    assert result.counts_before[-1] == 3
    assert result.training_mix.sum() == pytest.approx(1)
    # tau_norm measures its class mix, so it is not exactly the natural one.
    unchanged = "stay unchanged" in " ".join(result.notes)
    assert unchanged or result.training_mix[-1] >= 0.8 * result.natural_mix[-1], (
        "the rarest class lost ground"
    )
