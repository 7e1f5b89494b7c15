"""New heads on a trained trunk: their formulas, what they leave alone, and what they share."""

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from skinmnist.errors import InputError
from skinmnist.models.cnn import heads, training
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.heads import HEADS, Head, Trunk, TrunkOutput, make_head, normalise, train_head
from skinmnist.models.export import Fitted as Fit
from skinmnist.models.export import export_network
from skinmnist.models.registry import MODELS

SMALL = {"steps": 4, "batch_size": 16, "channels": (8,), "pairs": (0,), "views": 2}
#: Shape, classes, and a second network.
SETTINGS = {
    "rgb": ((8, 8, 3), 7, ()),
    "grey": ((8, 8, 1), 2, ()),
    "many": ((8, 6, 3), 20, ()),
    "two_networks": ((8, 8, 3), 3, (6,)),
}


def make_rows(shape, n_classes, seed=0):
    """Noise whose brightness tells the class; the last class has three rows."""
    rng = np.random.default_rng(seed)
    sizes = np.linspace(24, 6, n_classes).astype(int)
    sizes[-1] = 3
    labels = rng.permutation(np.repeat(np.arange(n_classes), sizes))
    level = 40 + 160 * labels / (n_classes - 1)
    pixels = rng.normal(level[:, None], 30.0, (len(labels), int(np.prod(shape)))).clip(0, 255)
    return pixels.astype(np.uint8), labels


class Fitted:
    """The network of ``none`` and all its heads, on one trunk."""

    def __init__(self, shape, n_classes, feature_layers):
        self.rows, self.labels = make_rows(shape, n_classes)
        self.plain = CNNClassifier(shape, **SMALL, feature_layers=feature_layers, random_state=1)
        self.trunk = Trunk()
        self.plain.fit(self.rows, self.labels, trunk=self.trunk)
        self.heads = {name: self.make(name).fit(self.rows, self.labels, trunk=self.trunk) for name in HEADS}

    def make(self, head):
        return CNNClassifier(**{**self.plain.get_params(), "head": head})


@cache
def fit(setting):
    return Fitted(*SETTINGS[setting])


@pytest.fixture(params=SETTINGS)
def fitted(request):
    return fit(request.param)


@pytest.fixture
def rgb():
    return fit("rgb")


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def output(n_classes=3, seed=0, columns=5):
    """Invent embeddings and the head of a trunk."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_classes), np.linspace(60, 9, n_classes).astype(int))
    embeddings = rng.normal(np.eye(n_classes, columns)[codes] * 2, 1.0).astype(np.float32)
    head = Head(rng.normal(size=(columns, n_classes)).astype("f4"), rng.normal(size=n_classes).astype("f4"))
    return TrunkOutput(embeddings, codes, np.bincount(codes), head, [slice(0, 2), slice(2, columns)])


def test_every_head_belongs_to_a_strategy_of_networks():
    strategies = MODELS["cnn"].strategies
    found = {name for name, one in strategies.items() if one.replaces_head}
    assert found == set(HEADS)
    assert all(strategies[name].params == {"head": name} for name in HEADS)


def test_the_trunk_is_that_of_none_and_so_are_its_features(fitted):
    _, features = fitted.plain._answers(fitted.rows.reshape(-1, *fitted.plain.shape), 2)
    for model in fitted.heads.values():
        for own, other in zip(model.weights_, fitted.plain.weights_, strict=True):
            assert own.tobytes() == other.tobytes()
        np.testing.assert_array_equal(
            model._answers(fitted.rows.reshape(-1, *model.shape), 2)[1], features, strict=True
        )


def test_a_head_is_linear_so_the_mean_features_give_the_answer_of_none(fitted):
    """Over all views and both networks: softmax(mean features @ weights + offsets), in independent lines."""
    ensemble, model = fitted.plain.build_ensemble(), fitted.plain
    _, features = model._answers(fitted.rows.reshape(-1, *model.shape), model.used_views)
    found = softmax(features.astype(float) @ ensemble.head.weights + ensemble.head.offsets)
    np.testing.assert_allclose(found, model.predict_proba(fitted.rows), atol=2e-6)


def test_tau_of_zero_is_none(fitted, monkeypatch):
    monkeypatch.setattr(heads, "TAUS", np.zeros(1))
    model = fitted.make("tau_norm").fit(fitted.rows, fitted.labels, trunk=fitted.trunk)
    np.testing.assert_allclose(
        model.predict_proba(fitted.rows), fitted.plain.predict_proba(fitted.rows), atol=2e-6
    )
    counts = np.bincount(fitted.labels)
    np.testing.assert_allclose(model.class_mix_, counts / counts.sum(), rtol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_changes_the_answers_and_states_its_mix(fitted, name):
    model = fitted.heads[name]
    probabilities = model.predict_proba(fitted.rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert model.class_mix_.sum() == pytest.approx(1)
    assert (model.class_mix_ > 0).all()
    if name != "tau_norm":
        np.testing.assert_allclose(model.class_mix_, 1 / len(model.classes_))
        rare = fitted.labels == len(model.classes_) - 1
        before = fitted.plain.predict_proba(fitted.rows)[rare, -1].mean()
        assert probabilities[rare, -1].mean() > before
    assert any(("tau = " if name == "tau_norm" else "k_neighbors") in note for note in model.notes_) == (
        name != "crt"
    )


@pytest.mark.parametrize("name", HEADS)
def test_alone_and_on_a_shared_trunk_a_head_is_the_same_bit_for_bit(rgb, name):
    alone = rgb.make(name).fit(rgb.rows, rgb.labels)
    for part in ("weights", "offsets"):
        assert getattr(alone.head_, part).tobytes() == getattr(rgb.heads[name].head_, part).tobytes()
    np.testing.assert_array_equal(alone.predict_proba(rgb.rows), rgb.heads[name].predict_proba(rgb.rows))


def test_one_trunk_trains_one_network(rgb, monkeypatch):
    monkeypatch.setattr(CNNClassifier, "_train_networks", lambda *_: pytest.fail("trained again"))
    before = rgb.trunk.seconds
    for name in (*HEADS, None):
        rgb.make(name).fit(rgb.rows, rgb.labels, trunk=rgb.trunk)
    assert rgb.trunk.seconds == before > 0


def test_a_saved_model_has_the_new_head_and_the_trunk_of_none(fitted):
    model, plain = (
        export_network(Fit(None, one, None, False)).arrays for one in (fitted.heads["crt"], fitted.plain)
    )
    n = len(plain["logits_kernel"])
    np.testing.assert_array_equal(model["logits_kernel"], fitted.heads["crt"].head_.weights[:n])
    if "feature_logits_kernel" in model:
        np.testing.assert_array_equal(model["feature_logits_kernel"], fitted.heads["crt"].head_.weights[n:])
    changed = {name for name in plain if not np.array_equal(plain[name], model[name])}
    assert all("logits" in name for name in changed)


def test_a_trunk_of_other_rows_is_not_used(rgb):
    changed = rgb.rows[::-1].copy()
    model = rgb.make("crt").fit(changed, rgb.labels[::-1], trunk=rgb.trunk)
    assert model.weights_[0].tobytes() != rgb.plain.weights_[0].tobytes()


def test_without_a_head_nothing_of_an_earlier_fit_stays(rgb):
    model = rgb.make("smote_head").fit(rgb.rows, rgb.labels, trunk=rgb.trunk)
    model.set_params(head=None).fit(rgb.rows, rgb.labels, trunk=rgb.trunk)
    assert (model.head_, model.class_mix_, model.notes_) == (None, None, ())
    np.testing.assert_array_equal(model.predict_proba(rgb.rows), rgb.plain.predict_proba(rgb.rows))


def test_heads_take_neither_weights_nor_other_names(rgb):
    with pytest.raises(InputError, match="head 'crt' together with weights"):
        rgb.make("crt").fit(rgb.rows, rgb.labels, sample_weight=np.ones(len(rgb.labels)))
    with pytest.raises(InputError, match="received the head 'crd'; choose one of crt, tau_norm, smote_head"):
        rgb.make("crd").fit(rgb.rows, rgb.labels, trunk=rgb.trunk)


@pytest.mark.parametrize("tau", [0.0, 0.4, 1.0])
def test_tau_normalisation_in_five_lines(tau):
    trunk = output()
    found = normalise(trunk.head, tau, trunk.parts)
    for first, last in ((0, 2), (2, 5)):
        norms = [sum(w**2 for w in column) ** 0.5 for column in trunk.head.weights[first:last].T.tolist()]
        mean = (norms[0] * norms[1] * norms[2]) ** (1 / 3)
        for c, norm in enumerate(norms):
            expected = trunk.head.weights[first:last, c] / (norm / mean) ** tau
            np.testing.assert_allclose(found.weights[first:last, c], expected, rtol=1e-5)
    np.testing.assert_array_equal(found.offsets, trunk.head.offsets)


def test_tau_has_the_lowest_balanced_log_loss_on_the_training_rows():
    trunk = output(seed=3)
    losses = {}
    for tau in np.linspace(0, 1, 11):
        head = normalise(trunk.head, tau, trunk.parts)
        p = softmax(trunk.embeddings @ head.weights + head.offsets)
        losses[tau] = -np.mean([np.log(p[trunk.codes == c, c]).mean() for c in range(3)])
    assert len(set(losses.values())) > 5
    best = min(losses, key=losses.get)
    assert f"tau = {best:.1f}," in make_head("tau_norm", trunk, 0).notes[0]


def test_a_known_shift_of_the_class_mix_is_found():
    """Offsets of log(w) move probabilities from a class mix to that mix times w (Bayes)."""
    trunk = output()
    weights = np.array([0.2, 3.0, 1.0])
    shifted = Head(trunk.head.weights, (trunk.head.offsets + np.log(weights)).astype("f4"))
    mix = trunk.class_counts * weights
    np.testing.assert_allclose(heads.referred_mix(shifted, trunk), mix / mix.sum(), rtol=1e-3)


def test_crt_draws_all_classes_equally_often_and_all_rows_of_a_class(monkeypatch):
    drawn, original = [], training.draw_batches
    monkeypatch.setattr(
        training, "draw_batches", lambda *arguments: drawn.append(original(*arguments)) or drawn[-1]
    )
    trunk = output()
    made = make_head("crt", trunk, 5)
    order = drawn[0]
    assert order.shape == (heads.STEPS, heads.BATCH_SIZE)
    classes = np.bincount(trunk.codes[order.ravel()]) / order.size
    np.testing.assert_allclose(classes, 1 / 3, atol=4 * np.sqrt(2 / 9 / order.size))
    often = np.bincount(order.ravel(), minlength=len(trunk.codes))
    for code in range(3):
        assert np.ptp(often[trunk.codes == code]) <= 1
    np.testing.assert_allclose(made.class_mix, 1 / 3)


def test_a_trained_head_is_balanced_multinomial_regression(monkeypatch):
    monkeypatch.setattr(heads, "WEIGHT_DECAY", 0.0)
    trunk = output(seed=1)
    trunk.embeddings[:] = np.random.default_rng(0).normal(size=trunk.embeddings.shape) + trunk.embeddings / 4
    found = softmax(make_head("crt", trunk, 0).head.logits(trunk.embeddings))
    regression = LogisticRegression(C=1e6, class_weight="balanced", max_iter=1000)
    expected = regression.fit(trunk.embeddings, trunk.codes).predict_proba(trunk.embeddings)
    assert np.abs(found - expected).mean() < 0.02
    assert np.ptp(expected) > 0.5


def test_smote_balances_the_features_except_a_class_of_one_row():
    trunk = output()
    codes = np.append(trunk.codes, 3)
    rows = np.vstack([trunk.embeddings, np.ones((1, 5), "f4")])
    made = make_head("smote_head", TrunkOutput(rows, codes, np.bincount(codes), trunk.head, trunk.parts), 0)
    np.testing.assert_allclose(made.class_mix, np.array([60, 60, 60, 1]) / 181)
    assert "classes with one training row stay unchanged" in made.notes[0]


def test_a_unit_that_is_silent_in_training_does_not_decide():
    trunk = output()
    rows = np.column_stack([trunk.embeddings, np.zeros(len(trunk.codes), "f4")])
    rows[0, -1] = 1e-3
    head = train_head(rows, trunk.codes, None, 0)
    assert np.abs(head.weights[-1]).max() < 10 * np.abs(head.weights[:-1]).max()


def test_large_tables_are_sampled_class_by_class():
    codes = np.random.default_rng(0).choice(3, 500, p=[0.7, 0.2, 0.1])
    rows = heads.sample_rows(codes, 0, most=60)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(np.bincount(codes[rows]), np.minimum(np.bincount(codes), 60))
    np.testing.assert_array_equal(heads.sample_rows(codes, 0, most=500), np.arange(500))
    assert not np.array_equal(rows, heads.sample_rows(codes, 1, most=60))
