"""Kept networks: that a fit leaves nothing in them that a later one could see."""

import threading

import numpy as np
import pytest

from skinmnist.models.cnn.classifier import CNNClassifier, programs

SHAPE = (12, 12, 3)
SMALL = {"steps": 4, "batch_size": 16, "channels": (8,), "pairs": (1,), "views": 2}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    return rng.normal(40 + 60 * labels[:, None], 50.0, (120, 432)).clip(0, 255).astype(np.uint8), labels


def fit(rows, start=0, **settings):
    return CNNClassifier(SHAPE, **{**SMALL, **settings}).fit(rows[0][start:], rows[1][start:])


def newly(make, monkeypatch):
    """What is made where no network waits."""
    with monkeypatch.context() as alone:
        alone.setattr(programs, "_waiting", {})
        return make()


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss": "logit_adjusted"}, {"describer": (6,)}],
    ids=str,
)
def test_a_fit_after_others_is_that_of_a_new_network_bit_for_bit(rows, settings, monkeypatch):
    alone = newly(lambda: fit(rows, random_state=3, **settings), monkeypatch)
    fit(rows, start=50, random_state=1, **settings)
    fit(rows, start=7)
    again = fit(rows, random_state=3, **settings)
    assert again.history_ == alone.history_
    for one, other in zip(again.weights_, alone.weights_, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.predict_proba(rows[0]), alone.predict_proba(rows[0]))


def test_a_model_answers_the_same_after_another_was_trained(rows):
    first = fit(rows)
    before = first.predict_proba(rows[0])
    second = fit(rows, start=40, random_state=9)
    assert not np.array_equal(second.predict_proba(rows[0]), before)
    np.testing.assert_array_equal(first.predict_proba(rows[0]), before)


def test_fits_side_by_side_do_not_meet(rows, monkeypatch):
    alone = [newly(lambda seed=seed: fit(rows, random_state=seed), monkeypatch) for seed in (0, 1)]
    found = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: fit(rows, random_state=seed)}))
        for seed in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        np.testing.assert_array_equal(found[seed].weights_[0], alone[seed].weights_[0])


def test_one_design_is_traced_once(rows, monkeypatch):
    monkeypatch.setattr(programs, "_waiting", {})
    traced = []
    compile_steps = programs.Trainer.steps
    monkeypatch.setattr(
        programs.Trainer, "steps", lambda self, coarse: traced.append(self) or compile_steps(self, coarse)
    )
    fit(rows)
    fit(rows, start=30, random_state=2, steps=14, balance="sqrt_batches")
    assert len(set(map(id, traced))) == 1 < len(traced)
    fit(rows, loss="focal")
    assert len(set(map(id, traced))) == 2


def test_few_networks_wait(monkeypatch):
    waiting = {}
    monkeypatch.setattr(programs, "_waiting", waiting)
    for n_classes in (2, 3, 4, 5):
        with programs.borrow(programs.Design(SHAPE, n_classes, (8,), (0,), 0.3, "float32")):
            pass
    assert [design.n_classes for design in waiting] == [4, 5]


def test_a_network_whose_fit_failed_is_not_kept(rows, monkeypatch):
    waiting = {}
    monkeypatch.setattr(programs, "_waiting", waiting)
    with pytest.raises(FloatingPointError, match="loss"):
        fit(rows, learning_rate=1e30, kernel_rate=None)
    assert not waiting
