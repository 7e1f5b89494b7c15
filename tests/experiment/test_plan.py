"""What makes stored cells stale, what a plan knows of its split, and how long a run takes."""

from pathlib import Path

import numpy as np
import pytest

import skinmnist
from skinmnist.datasets.cache import _reached
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment import plan
from skinmnist.experiment.audit import count_shared, number_lesions
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.plan import Ranking, Remaining, expected_seconds, in_fold_order, make_plan
from skinmnist.experiment.splits import GivenFolds, assign_folds
from skinmnist.models.registry import MODELS

PACKAGE = Path(skinmnist.__file__).parent


@pytest.fixture(scope="module")
def reached():
    return {str(path.relative_to(PACKAGE)) for path in _reached(plan._COMPUTING)}


def test_everything_that_computes_cells_makes_them_stale(reached):
    rooms = ["features", "models", "models/cnn", "resampling"]
    computing = {str(path.relative_to(PACKAGE)) for room in rooms for path in (PACKAGE / room).glob("*.py")}
    computing |= {"datasets/mapped.py", "datasets/table.py"}
    computing |= {
        f"experiment/{name}.py" for name in ("fit_cell", "derived/fusion", "splits", "training", "inputs")
    }
    published = {"models/blueprints.py", "models/cnn/stacked.py"}
    missing = computing - reached - published
    assert {path for path in missing if not path.endswith("__init__.py")} == set()


def test_nothing_else_does(reached):
    others = ("analysis", "console", "datasets/images", "inference", "leakage", "presets", "reporting", "web")
    # What support vector machines compute with, here and in model files; and how pictures become a table.
    shared = {"inference/kernel.py", "datasets/images/pictures.py", "datasets/images/limits.py"}
    assert not [path for path in reached - shared if path.startswith(others)]
    assert "experiment/comparison.py" not in reached


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
def test_the_sides_of_given_pairs_are_those_that_share_the_most_lesions(lesions, order):
    rows = np.arange(len(lesions))
    by_lesion, by_image = (assign_folds(lesions, 4, 1, split)[0] for split in ("lesion", "image"))
    pairs = [(rows[fold != 0], rows[fold == 0]) for fold in (by_lesion, by_image)]
    pairs.append((pairs[1][0][::2], pairs[1][1][:40]))
    shared = [len({*lesions.lesion_ids[one]} & {*lesions.lesion_ids[other]}) for one, other in pairs]
    assert min(shared) == shared[0] == 0 < shared[2] < shared[1]
    split = GivenFolds.from_cv([pairs[place] for place in order], lesions)
    planned = make_plan(lesions, ["none"], ["dummy"], 5, 1, split, 0, None)
    assert count_shared(number_lesions(lesions), planned.sides(lesions))[0] == shared[1]
    assert planned.protocol.rows == len(lesions)


@pytest.mark.parametrize("leaky", [0, 1, 2])
def test_without_lesions_the_sides_are_those_that_share_the_most_copies(leaky):
    rng, rows = np.random.default_rng(0), np.arange(24)
    pixels = np.tile(rng.integers(0, 256, (24, 12), dtype=np.uint8), (2, 1))
    table = PixelTable(pixels, np.tile(rows % 2, 2), ("a", "b"), (2, 2, 3))
    pairs = [(np.r_[rows[:n], rows[:n] + 24], np.r_[rows[n:], rows[n:] + 24]) for n in (12, 18)]
    pairs.insert(leaky, (rows, rows + 24))
    planned = make_plan(table, ["none"], ["dummy"], 5, 1, GivenFolds.from_cv(pairs, table), 0, None)
    np.testing.assert_array_equal(planned.sides(table), np.repeat([1, 0], 24))


def test_repeats_of_given_folds_are_compared_once(lesions, monkeypatch):
    counted = []
    monkeypatch.setattr(plan, "count_shared", lambda _, sides: counted.append(sides) or (len(counted), 0))
    fold_of = np.stack([assign_folds(lesions, 2, 1, "image", seed)[0] for seed in (0, 1, 0, 1, 2)])
    split = GivenFolds(fold_of, 2, "given", "mine")
    planned = make_plan(lesions, ["none"], ["dummy"], 5, 1, split, 0, None)
    np.testing.assert_array_equal(planned.sides(lesions), fold_of[4])
    np.testing.assert_array_equal(counted, fold_of[[0, 1, 4]])


COUNTS = np.array([327, 514, 1099, 115, 6705, 142, 1113])


def guess(sampler, model, counts=COUNTS, columns=2352):
    return expected_seconds(Cell(sampler, model, 0, 0), MODELS[model], counts, columns, 5)


def test_more_rows_take_longer():
    assert guess("SMOTE", "svm") > 3 * guess("none", "svm")
    assert guess("RandomOverSampler", "svm") == guess("none", "svm"), "copies travel as weights"
    assert guess("RandomOverSampler", "hist_gradient_boosting") > guess("none", "hist_gradient_boosting")
    assert guess("none", "cnn") == guess("SMOTE", "cnn")
    shares = [guess(f"SMOTE{share}", "svm") for share in ("@0.25", "@0.5", "@0.75", "")]
    assert shares == sorted(shares)
    assert guess("none", "svm") < shares[0]
    assert guess("none", "svm", COUNTS // 4) < guess("none", "svm")
    assert guess("none", "cnn", columns=192) < guess("none", "cnn")


def test_what_was_measured_replaces_the_guess():
    cells = [Cell("none", model, 0, fold) for model in ("svm", "cnn") for fold in range(4)]
    remaining = Remaining(dict.fromkeys(cells, 10.0), jobs=2)
    assert remaining.seconds(cells) is None
    remaining.finished(cells[0], 20.0)
    # Three cells of 20 s by their sibling, four of 10 s guessed, twice too low so far: seven on two workers.
    assert remaining.seconds(cells[1:]) == pytest.approx(4 * 20)
    remaining.finished(cells[4], 5.0)
    assert remaining.seconds(cells[1:4] + cells[5:]) == pytest.approx(20 + 20)


def test_a_guess_is_corrected_by_cells_of_the_same_model():
    slow, fast = Cell("none", "svm", 0, 0), Cell("none", "forest", 0, 0)
    remaining = Remaining(dict.fromkeys([slow, fast, slow._replace(sampler="SMOTE")], 10.0), jobs=1)
    remaining.finished(slow, 30.0)
    remaining.finished(fast, 1.0)
    assert remaining.seconds([slow._replace(sampler="SMOTE")]) == pytest.approx(30)


def test_what_a_running_cell_has_taken_is_not_left():
    now = 100.0
    cells = [Cell("none", "svm", 0, fold) for fold in range(4)]
    remaining = Remaining(dict.fromkeys(cells, 10.0), jobs=2, clock=lambda: now)
    remaining.finished(cells[0], 20.0)
    remaining.running(cells[1:3])
    now = 115.0
    assert remaining.seconds(cells[1:]) == pytest.approx(5 + 20)
    now = 190.0
    assert remaining.seconds(cells[1:]) == pytest.approx(20), "two are overdue, one has not begun"


def test_the_last_cell_cannot_be_shared():
    cells = [Cell("none", "svm", 0, fold) for fold in range(2)]
    remaining = Remaining(dict.fromkeys(cells, 10.0), jobs=4)
    remaining.finished(cells[0], 12.0)
    assert remaining.seconds(cells[1:]) == 12.0
    assert remaining.seconds([]) == 0


def test_every_pair_has_its_first_fold_before_any_has_its_second():
    seconds = np.random.default_rng(0).uniform(1, 100, 24)
    cells = [
        Cell(s, m, repeat, fold) for s in "ab" for m in "xyz" for repeat in range(2) for fold in range(2)
    ]
    expected = dict(zip(cells, seconds, strict=True))
    order = in_fold_order(expected, jobs=1)
    assert sorted(order) == sorted(cells)
    for number in range(4):
        group = order[6 * number : 6 * number + 6]
        assert {cell[2:] for cell in group} == {divmod(number, 2)}
        assert [expected[cell] for cell in group] == sorted((expected[cell] for cell in group), reverse=True)


def test_no_worker_waits_long_for_the_last_cell():
    """Fold after fold on two cores; on eight, where the longest cells would come last, they come before."""
    seconds = {"cnn": 30.0, "svm": 9.0, "forest": 4.0}
    cells = [Cell(s, m, 0, fold) for s in "abc" for m in seconds for fold in range(5)]
    expected = {cell: seconds[cell.model] for cell in cells}

    def ends(jobs):
        free = [0.0] * jobs
        for cell in in_fold_order(expected, jobs):
            free[free.index(min(free))] += expected[cell]
        return sorted(free)

    assert [cell.fold for cell in in_fold_order(expected, 2)] == sorted([*range(5)] * 9)
    for jobs in (1, 2, 3, 4, 8, 16):
        *_, last = ends(jobs)
        assert last <= 1.03 * max(sum(expected.values()) / jobs, 30.0) or jobs > 8
    assert ends(2)[0] >= 0.95 * ends(2)[1]


def test_finished_folds_are_published_once_and_later_ones_only_where_that_is_cheap():
    cells, now = [Cell("none", model, 0, fold) for fold in range(4) for model in "xy"], [0.0]
    ranking = Ranking(cells, clock=lambda: now[0])
    assert not ranking.is_due(cells[1:], 60.0)  # One pair has not finished the fold.
    assert not ranking.is_due(cells[2:], 5.0)  # The end is near.
    assert not ranking.is_due(cells[2:], None)
    assert ranking.is_due(cells[2:], 60.0)
    with ranking.timed():
        now[0] += 2.0
    assert not ranking.is_due(cells[2:], 60.0)
    now[0] += 199.0
    assert not ranking.is_due(cells[4:], 60.0)
    now[0] += 2.0
    assert ranking.is_due(cells[4:], 60.0)
    assert (ranking.finished, ranking.planned) == (2, 4)
    assert not ranking.is_due([], 0.0)
