import numpy as np
import pytest
from sklearn.base import clone
from sklearn.svm import SVC

from skinmnist.models.pairwise import PairwiseSVC
from skinmnist.models.registry import pairwise


def sample_indices(classes):
    rng = np.random.default_rng(classes)
    labels = rng.permutation(np.repeat(np.arange(classes), rng.integers(15, 60, classes)))
    return rng.normal(labels[:, None] / 2, 1.0, (len(labels), 6)).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_it_answers_as_libsvm_does(classes, monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK_VALUES", 500)
    rows, labels = sample_indices(classes)
    unseen = np.random.default_rng(9).normal(1.0, 1.5, (300, 6)).astype(np.float32)
    quick = PairwiseSVC(C=3.0, gamma=0.2).fit(rows, labels)
    plain = SVC(C=3.0, gamma=0.2, decision_function_shape="ovo").fit(rows, labels)
    np.testing.assert_allclose(
        quick.decision_function(unseen), plain.decision_function(unseen), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_array_equal(quick.predict(unseen), plain.predict(unseen))


def test_labels_need_not_count_from_zero():
    rows, labels = sample_indices(3)
    names = np.array([4, 1, 9])[labels]
    quick = PairwiseSVC(gamma=0.2).fit(rows, names)
    np.testing.assert_array_equal(
        quick.predict(rows), SVC(gamma=0.2, decision_function_shape="ovo").fit(rows, names).predict(rows)
    )


def test_clone_keeps_its_settings():
    assert clone(PairwiseSVC(2.0, 0.3, cache_size=50)).get_params() == {
        "C": 2.0,
        "gamma": 0.3,
        "tol": 1e-3,
        "cache_size": 50,
    }
