import numpy as np
import pytest

from skinmnist.experiment.cells import Cell
from skinmnist.experiment.plan import Remaining, expected_seconds
from skinmnist.models.registry import MODELS

COUNTS = np.array([327, 514, 1099, 115, 6705, 142, 1113])


def guess(sampler, model, counts=COUNTS, columns=2352):
    return expected_seconds(Cell(sampler, model, 0, 0), MODELS[model], counts, columns, 5)


def test_more_rows_take_longer():
    assert guess("SMOTE", "svm") > 3 * guess("none", "svm")
    assert guess("RandomOverSampler", "svm") == guess("none", "svm"), "copies travel as weights"
    assert guess("RandomOverSampler", "random_forest") > guess("none", "random_forest")
    assert guess("none", "cnn") == guess("SMOTE", "cnn")
    assert guess("none", "svm", COUNTS // 4) < guess("none", "svm")
    assert guess("none", "cnn", columns=192) < guess("none", "cnn")


def test_what_was_measured_replaces_the_guess():
    cells = [Cell("none", model, 0, fold) for model in ("svm", "cnn") for fold in range(4)]
    remaining = Remaining(dict.fromkeys(cells, 10.0), jobs=2)
    assert remaining.seconds(cells) is None
    remaining.finished(cells[0], 20.0)
    # Three cells of 20 s by their sibling, four of 10 s guessed, twice too low so far.
    assert remaining.seconds(cells[1:]) == pytest.approx((3 * 20 + 4 * 20) / 2)
    remaining.finished(cells[4], 5.0)
    assert remaining.seconds(cells[1:4] + cells[5:]) == pytest.approx((3 * 20 + 3 * 5) / 2)


def test_the_last_cell_cannot_be_shared():
    cells = [Cell("none", "svm", 0, fold) for fold in range(2)]
    remaining = Remaining(dict.fromkeys(cells, 10.0), jobs=4)
    remaining.finished(cells[0], 12.0)
    assert remaining.seconds(cells[1:]) == 12.0
    assert remaining.seconds([]) == 0
