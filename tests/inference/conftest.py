"""What these tests share: small models, each trained once."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from skinmnist import make_lesions
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.train_model import train_model
from skinmnist.inference.classifier import Classifier
from skinmnist.inference.model_file import decode_model
from skinmnist.models.registry import MODELS


@pytest.fixture(autouse=True, scope="session")
def few_steps():
    """Let networks make few steps: what they have learnt does not matter here.

    Small steps, or logits of a hundred would leave seven digits too few for probabilities of six.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, spec in MODELS.items():
            if spec.cost.library == "skinmnist.models.cnn.classifier":
                quick = {"steps": 60, "batch_size": 16, "points": 4, "learning_rate": 1e-3}
                patch.setitem(
                    MODELS,
                    name,
                    replace(spec, export=replace(spec.export, params={**spec.export.params, **quick})),
                )
        yield


@pytest.fixture(scope="session")
def small_table() -> PixelTable:
    return make_lesions(220, size=8, random_state=1)


@pytest.fixture(scope="session")
def saved(few_steps, small_table):
    """Name of a model -> what `train_model` returns."""
    return functools.cache(functools.partial(train_model, small_table))


@pytest.fixture(scope="session")
def tiny(saved) -> bytes:
    """The content of the file of a small network."""
    return saved("cnn_tiny").content


@pytest.fixture(scope="session")
def classifier(tiny) -> Classifier:
    return Classifier(decode_model(tiny))


@pytest.fixture(scope="session")
def few_classes(small_table):
    """Number of classes -> a table of so many."""

    def make(n_classes: int) -> PixelTable:
        rows = np.flatnonzero(np.isin(small_table.labels, [2, 4, 6][:n_classes]))
        names = tuple(small_table.class_names[code] for code in [2, 4, 6][:n_classes])
        labels = small_table.labels[rows] // 2 - 1
        lesions = small_table.lesion_ids[rows]
        return PixelTable(small_table.pixels[rows], labels, names, small_table.shape, lesions, synthetic=True)

    return make
