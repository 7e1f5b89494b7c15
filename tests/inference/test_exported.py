"""To register a model is to have its file tested: it answers what the model in memory answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from skinmnist import make_lesions
from skinmnist.datasets.decoding import decode_members
from skinmnist.errors import InputError
from skinmnist.experiment.comparison import run_comparison
from skinmnist.experiment.fit_cell import cell_seeds
from skinmnist.experiment.metrics import score
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.train_model import choose_pair, train_model
from skinmnist.experiment.training import fit_model
from skinmnist.inference.classifier import Classifier
from skinmnist.inference.manifest import UnreadableError, encode_manifest
from skinmnist.inference.model_file import decode_model, encode_model, pack
from skinmnist.inference.novelty import fit_novelty
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import Setting

#: Models that can be compared and not saved.
NOT_SAVED = {name for name, spec in MODELS.items() if spec.balances}
EXPORTABLE = [name for name, spec in MODELS.items() if spec.export]


def test_every_registered_model_can_be_saved():
    assert set(EXPORTABLE) == set(MODELS) - NOT_SAVED


@pytest.mark.parametrize("name", EXPORTABLE)
def test_file_answers_what_the_model_in_memory_answers(name, saved, small_table):
    model = saved(name)
    found = Classifier(decode_model(model.content))
    rows = make_lesions(90, size=8, random_state=7).pixels
    expected = model.predict_proba(rows)
    answers = found.predict_proba(rows)
    np.testing.assert_allclose(answers, expected, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(answers.argmax(axis=1), expected.argmax(axis=1))
    own = found.predict_proba(small_table.pixels).argmax(axis=1)
    np.testing.assert_array_equal(own, model.predict_proba(small_table.pixels).argmax(axis=1))
    assert (expected.std(axis=0).max() > 0.01) == (name != "dummy")
    assert found.title == MODELS[name].title
    assert found.class_names == small_table.class_names
    assert found.manifest.synthetic


def test_an_ensemble_in_one_file_answers_the_geometric_mean_of_its_models(saved, small_table):
    names = ("svm", "cnn_tiny", "dummy")
    both = train_model(small_table, "Ensemble", members=names)
    found = Classifier(decode_model(both.content))
    rows = make_lesions(90, size=8, random_state=7).pixels
    logs = [np.log(Classifier(decode_model(saved(name).content)).predict_proba(rows)) for name in names]
    mean = np.exp(np.mean(logs, axis=0))
    answers = found.predict_proba(rows)
    np.testing.assert_allclose(answers, mean / mean.sum(axis=1, keepdims=True), atol=1e-6, rtol=0)
    np.testing.assert_allclose(answers, both.predict_proba(rows), atol=1e-6, rtol=0)
    assert (found.manifest.model, found.title) == ("ensemble", "Ensemble of svm, cnn_tiny, dummy")
    assert repr(both).startswith("<TrainedModel: Ensemble of svm, cnn_tiny, dummy, 8 x 8 x 3")
    assert len(both.content) > len(saved("svm").content)
    with pytest.raises(UnreadableError, match="not a list of 2 to 16 entries"):
        alter(both.content, lambda answer: answer["models"].pop(), lambda answer: answer["models"].pop())
    with pytest.raises(UnreadableError, match="which its manifest does not use"):
        alter(both.content, lambda answer: answer["models"].pop())


def alter(content, *changes):
    """Change the answer of a manifest and read the file again."""
    members = decode_members(content)
    manifest = json.loads(members.pop("manifest.json"))
    for change in changes:
        change(manifest["answer"])
    return decode_model(pack({"manifest.json": encode_manifest(manifest), **members}))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["svm"], "received an ensemble of 1; expected 2 to 16 members, such as svm cnn"),
        (["svm", "SVM"], "the member 'svm' twice"),
        (["svm", "ensemble"], "received the model 'ensemble', which is made from other models; name them"),
        (["svm", "sklearn.naive_bayes:GaussianNB"], "cannot be written to a model file"),
    ],
)
def test_ensembles_that_are_refused(members, message, small_table):
    with pytest.raises(InputError, match=message):
        train_model(small_table, "ensemble", members=members)
    with pytest.raises(InputError, match="expected them with model 'ensemble' only"):
        train_model(small_table, "svm", members=members)


def test_sets_are_calibrated_on_out_of_fold_predictions(small_table):
    pair = "RandomOverSampler", "logistic_regression"
    cv = run_comparison(small_table, ["none", pair[0]], [pair[1]], folds=2, jobs=1)
    model = train_model(small_table, pair[1], pair[0], cv=cv, conformal=0.1)
    classifier = Classifier(decode_model(model.content))
    rows = cv.predictions[cv.predictions["sampler"] == pair[0]]
    names, thresholds = classifier.class_names, classifier.manifest.sets.thresholds
    for code, name in enumerate(names):
        known = np.sort(rows.loc[rows["label"] == code, f"p_{name}"])
        place = int(0.1 * (len(known) + 1))
        assert thresholds[code] == (known[place - 1] if place else 0)
    assert min(thresholds) == 0 < max(thresholds)
    sizes = set()
    for pixels in small_table.pixels[:40]:
        found = classifier.classify(pixels.reshape(small_table.shape))
        shares = found.probabilities
        held = {name for name, low in zip(names, thresholds, strict=True) if shares[name] >= low}
        assert set(found.conformal_set) == held | {max(shares, key=shares.get)}
        assert found.coverage == 0.9
        sizes.add(len(held))
    assert len(sizes) > 1
    for options in ({"cv": cv, "conformal": None}, {"cv": None}):
        assert not train_model(small_table, pair[1], pair[0], **options).promise


@pytest.fixture(scope="module")
def validated(small_table):
    """A run of two pairs, whose scores differ, and of their ensemble, also with a name of the user."""
    both = ["logistic_regression", "dummy"]
    return run_comparison(
        small_table,
        ["none", "RandomOverSampler"],
        both,
        ensembles={"ensemble": both, "both": both},
        folds=2,
        jobs=1,
    )


@pytest.mark.parametrize(
    ("sampler", "model", "members"),
    [
        ("none", "logistic_regression", None),
        ("RandomOverSampler", "ensemble", ["logistic_regression", "dummy"]),
        ("none", "ensemble", ["dummy", "logistic_regression"]),  # In another order than in the run.
    ],
)
def test_a_model_claims_the_scores_of_its_own_pair(sampler, model, members, validated, small_table):
    trained = train_model(small_table, model, sampler, cv=validated, members=members)
    scores = validated.scores
    own = scores[(scores["sampler"] == sampler) & (scores["model"] == model)].groupby("metric")["value"]
    claimed = Classifier(decode_model(trained.content)).manifest.scores
    assert claimed == {name: (own.mean()[name], own.std()[name]) for name in claimed}
    assert {"macro_f1", "balanced_accuracy", "macro_auc"} <= claimed.keys()
    assert trained.promise


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["svm"],
            "without finished cells of none \\+ svm; cross-validate this pair, or train one of "
            "none \\+ logistic_regression, none \\+ dummy, none \\+ ensemble, "
            "RandomOverSampler \\+ logistic_regression, [^,]+, RandomOverSampler \\+ ensemble$",
        ),
        (["dummy", "SMOTE"], "without finished cells of SMOTE \\+ dummy; cross-validate this pair"),
        (["ensemble"], "a cross-validation of ensemble with other members or weights"),
    ],
)
def test_a_cross_validation_of_another_pair_is_refused(arguments, message, validated, small_table):
    with pytest.raises(InputError, match=message):
        train_model(small_table, *arguments, cv=validated)


def test_without_a_pair_that_can_be_trained_none_is_offered(validated, small_table):
    results = tuple(result for result in validated.results if result.cell.model == "both")
    with pytest.raises(InputError, match=r"finished cells of none \+ dummy; cross-validate this pair$"):
        train_model(small_table, "dummy", cv=replace(validated, results=results))


def test_a_cross_validation_of_another_table_or_other_parameters_is_refused(validated, small_table):
    fewer = small_table.take(np.arange(1, len(small_table)))
    with pytest.raises(InputError, match=f"cross-validation of another table, {small_table.name}; "):
        train_model(fewer, "dummy", cv=validated)
    info = replace(validated.info, fingerprints={"dummy": "parameters of the user"})
    with pytest.raises(InputError, match="a cross-validation of dummy with other parameters"):
        train_model(small_table, "dummy", cv=replace(validated, info=info))


@pytest.mark.parametrize(
    ("name", "n_classes"),
    [
        ("cnn_tiny", 2),
        ("svm", 2),
        ("svm", 3),
        ("logistic_regression", 2),
        ("hist_gradient_boosting", 2),
        ("hist_gradient_boosting", 3),
        ("random_forest_pixels", 3),
    ],
)
def test_few_classes(name, n_classes, few_classes):
    table = few_classes(n_classes)
    model = train_model(table, name)
    found = Classifier(decode_model(model.content)).predict_proba(table.pixels)
    assert found.shape == (len(table), n_classes)
    np.testing.assert_allclose(found, model.predict_proba(table.pixels), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "size"),
    [("cnn_tiny", (27, 25)), ("cnn_tiny", (10, 26)), ("cnn_tiny", 28), ("logistic_regression", (10, 26))],
)
def test_other_shapes(name, size):
    table = make_lesions(60, size=size, random_state=2)
    model = train_model(table, name)
    found = Classifier(decode_model(model.content)).predict_proba(table.pixels)
    np.testing.assert_allclose(found, model.predict_proba(table.pixels), atol=1e-6, rtol=0)


def test_grey_pictures(small_table):
    grey = small_table.pixels.reshape(-1, 8, 8, 3).mean(axis=3).astype(np.uint8).reshape(-1, 64)
    model = train_model(replace(small_table, pixels=grey, shape=(8, 8, 1)), "cnn_tiny")
    found = Classifier(decode_model(model.content)).predict_proba(grey)
    np.testing.assert_allclose(found, model.predict_proba(grey), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sampler", ["SMOTE", "class_weight"])
def test_samplers_are_applied(sampler, small_table, saved):
    model = train_model(small_table, "logistic_regression", sampler)
    rare = np.flatnonzero(small_table.class_counts < 25)
    plain = saved("logistic_regression").predict_proba(small_table.pixels)
    assert model.predict_proba(small_table.pixels)[:, rare].sum() > plain[:, rare].sum()


def test_same_seed_same_bytes(small_table, saved):
    assert train_model(small_table, "svm").content == saved("svm").content
    assert train_model(small_table, "svm", seed=1).content != saved("svm").content


@pytest.mark.parametrize(("name", "sampler"), [("svm", "SMOTE"), ("svm", "none"), ("random_forest", "none")])
def test_scores_of_a_cross_validation_are_those_of_files_of_its_folds(name, sampler, small_table, saved):
    """A model of each training part, written to a file: its answers give the scores that are claimed."""
    run = run_comparison(small_table, [sampler], [name], folds=2, jobs=1)
    plan = make_plan(small_table, [sampler], [name], 2, 1, None, 0, None)
    spec, parts = plan.task.models[name], decode_members(saved(name).content)
    manifest = json.loads(parts["manifest.json"])
    description = {key: manifest[key] for key in manifest.keys() - {"format", "answer", "probe", "members"}}
    pixels, shape, names = small_table.pixels, small_table.shape, small_table.class_names
    for result in run.results:
        train = np.setdiff1d(np.arange(len(small_table)), result.rows)
        sampler_seed, model_seed = cell_seeds(0, result.cell)
        trained = fit_model(
            spec,
            plan.task.samplers[sampler].with_seed(sampler_seed),
            Setting(shape, len(names), len(train), model_seed),
            spec.features.extract(pixels, shape)[train],
            small_table.labels[train],
            small_table.lesion_ids[train],
            to_export=True,
        )
        exported = spec.export.write(trained.fitted)
        novelty = fit_novelty(pixels, shape, random_state=0)
        content = encode_model(description, exported.answer, exported.arrays, novelty)
        answers = Classifier(decode_model(content)).predict_proba(pixels[result.rows])
        np.testing.assert_array_equal(answers.argmax(axis=1), result.predicted)
        found = score(result.labels, answers.argmax(axis=1), answers, names)
        own = run.scores[run.scores["fold"] == result.cell.fold].set_index("metric")["value"].to_dict()
        claimed = {metric: value for metric, value in own.items() if not metric.startswith("lesion_")}
        if name == "random_forest":
            # Leaves are float32 in a file: pictures that the forest ranks alike part in the eighth digit.
            alike, answers = result.probabilities.round(6), answers.round(6)
            ranked = [score(result.labels, result.predicted, values, names) for values in (answers, alike)]
            for scores, values in zip((found, claimed), ranked, strict=True):
                scores |= {metric: values[metric] for metric in ("macro_auc", "macro_average_precision")}
        assert found == pytest.approx(claimed, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "sampler", "message"),
    [
        ("sklearn.naive_bayes:GaussianNB", "none", "cannot be written to a model file; choose one of svm"),
        ("nonsense", "none", "unknown model 'nonsense'"),
        ("cnn", "nonsense", "nonsense"),
        ("svm", "focal_loss", "sampler focal_loss with svm, which cannot take it; choose"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_training(model, sampler, message):
    with pytest.raises(InputError, match=message):
        choose_pair(model, sampler)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ("a" * 61, *"bcdefg")}, "use 1 to 60 printable characters"),
        ({"shape": (1, 64, 3)}, "received a table with pictures of 1 x 64 x 3"),
        ({"shape": (8, 12, 2)}, "received a table with pictures of 8 x 12 x 2"),
    ],
)
def test_what_no_file_could_hold_is_refused_before_training(change, message, small_table, monkeypatch):
    monkeypatch.delattr("skinmnist.experiment.train_model.fit_model")
    with pytest.raises(InputError, match=message):
        train_model(replace(small_table, **change), "dummy")


def test_too_few_pictures_are_refused_before_training(few_classes, monkeypatch):
    monkeypatch.delattr("skinmnist.experiment.train_model.fit_model")
    table = few_classes(2)
    rows = np.unique(table.labels, return_index=True)[1].repeat(9)
    few = replace(table, pixels=table.pixels[rows], labels=table.labels[rows], lesion_ids=None)
    with pytest.raises(InputError, match="received a table with 18 pictures; a model file needs at least 20"):
        train_model(few, "dummy")


def test_what_has_grown_too_large_is_not_saved(small_table, monkeypatch):
    monkeypatch.setattr("skinmnist.experiment.train_model.MOST_BYTES", 1000)
    with pytest.raises(InputError, match="cannot be exported: it is larger than 1,000 bytes; choose"):
        train_model(small_table, "dummy")


def test_what_cannot_be_read_again_is_not_saved(small_table, monkeypatch):
    monkeypatch.setattr("skinmnist.experiment.train_model.encode_model", lambda *parts: b"nothing")
    with pytest.raises(InputError, match="cannot be exported: it was not written by skinmnist"):
        train_model(small_table, "dummy")
