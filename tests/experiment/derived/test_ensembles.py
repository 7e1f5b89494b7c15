"""Ensembles of finished cells: recomputed from the predictions, resumed, failing and refused."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from skinmnist import InputError, make_lesions, read_run, run_comparison
from skinmnist.analysis.analyze import analyze
from skinmnist.compare import _quick_members
from skinmnist.decisions.probabilities import pool_logs
from skinmnist.experiment.cells import Answers, Cell
from skinmnist.experiment.derived.ensembles import TUNED, Ensemble, choose_weights, parse_ensembles
from skinmnist.reporting.page import render_page

ENSEMBLES = {
    "both": ["logistic_regression", "dummy"],
    "tuned": f"{TUNED}logistic_regression,dummy",
    "one sampler": ["RandomOverSampler+dummy", ("RandomOverSampler", "logistic_regression")],
    "unequal": ["none + logistic_regression", "randomoversampler + logistic_regression"],
    "half": ["logistic_regression", "RandomOverSampler + dummy"],
    "clinical": ["logistic_regression+clinical", "dummy"],
}
SAMPLERS, MODELS = ["none", "RandomOverSampler"], ["logistic_regression", "dummy"]
PAIRS = [(sampler, model) for sampler in SAMPLERS for model in MODELS]
ENSEMBLE = Ensemble("both", ((None, "logistic_regression"), (None, "dummy")), tuned=False, folds=2)


class Fails(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise RuntimeError("no luck")

    def predict(self, X):
        raise NotImplementedError

    predict_proba = predict


@pytest.fixture(scope="module")
def table():
    return make_lesions(150, size=8)


def compare(table, out, **changes):
    arguments = {"folds": 2, "repeats": 2, "jobs": 1, "clinical": ["age"], "ensembles": ENSEMBLES} | changes
    return run_comparison(table, SAMPLERS, arguments.pop("models", MODELS), out=out, **arguments)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return compare(table, tmp_path_factory.mktemp("ensembles") / "run")


def contents(folder):
    with gzip.open(folder / "predictions.csv.gz") as file:
        return (folder / "scores.csv").read_bytes(), file.read()


def test_rows_are_geometric_means_of_rows_in_the_predictions(run):
    rows = pd.read_csv(run.folder / "predictions.csv.gz")
    probabilities = [name for name in rows if name.startswith("p_")]
    by_cell = dict(list(rows.groupby(["sampler", "model"])[probabilities]))

    def mean(*pairs):
        logs = sum(np.log(by_cell[pair].to_numpy()) for pair in pairs) / len(pairs)
        return np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)

    for sampler, model, *pairs in (
        ("none", "both", ("none", "logistic_regression"), ("none", "dummy")),
        (
            "RandomOverSampler",
            "both",
            ("RandomOverSampler", "logistic_regression"),
            ("RandomOverSampler", "dummy"),
        ),
        (
            "RandomOverSampler",
            "one sampler",
            ("RandomOverSampler", "logistic_regression"),
            ("RandomOverSampler", "dummy"),
        ),
        (
            "RandomOverSampler",
            "half",
            ("RandomOverSampler", "logistic_regression"),
            ("RandomOverSampler", "dummy"),
        ),
        ("none", "clinical", ("none", "logistic_regression+clinical"), ("none", "dummy")),
        # Clinical evidence may be added before or after averaging.
        ("none", "both+clinical", ("none", "logistic_regression+clinical"), ("none", "dummy+clinical")),
    ):
        np.testing.assert_allclose(by_cell[sampler, model].to_numpy(), mean(*pairs), atol=1e-9)


def test_members_with_different_samplers_are_moved_to_the_natural_prior(run):
    rows = pd.read_csv(run.folder / "predictions.csv.gz").query("repeat == 0 and fold == 1")
    mixes = pd.read_csv(run.folder / "class_mix.csv").query("repeat == 0 and fold == 1")
    logs = 0.0
    for sampler in SAMPLERS:
        own = rows[(rows["sampler"] == sampler) & (rows["model"] == "logistic_regression")]
        mix = mixes[(mixes["sampler"] == sampler) & (mixes["model"] == "logistic_regression")]
        logs = (
            logs
            + np.log(own.filter(regex="^p_").to_numpy() * (mix["natural"] / mix["trained"]).to_numpy()) / 2
        )
    found = rows[(rows["sampler"] == "mixed") & (rows["model"] == "unequal")]
    expected = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.filter(regex="^p_"), expected, atol=1e-9)
    mix = mixes[(mixes["sampler"] == "mixed") & (mixes["model"] == "unequal")]
    np.testing.assert_array_equal(mix["natural"], mix["trained"])


def test_without_a_sampler_a_member_that_balances_the_classes_is_moved_to_the_natural_prior(run):
    plain, other = (
        next(one for one in run.results if one.cell[:2] == ("none", model))
        for model in ("logistic_regression", "dummy")
    )
    k = len(plain.natural_mix)
    balanced = replace(other, probabilities=plain.probabilities / plain.natural_mix, training_mix=np.ones(k))
    made = ENSEMBLE.derive(plain.cell._replace(model="both"), [plain, balanced])
    np.testing.assert_allclose(made.probabilities, plain.probabilities, atol=1e-9)
    np.testing.assert_array_equal(made.training_mix, plain.natural_mix)


def test_the_plan_has_a_row_for_each_sampler_unless_members_have_their_own(run):
    found = run.scores.groupby("model")["sampler"].agg(lambda names: sorted(set(names))).to_dict()
    assert found["both"] == found["tuned"] == found["half"] == found["clinical"] == sorted(SAMPLERS)
    assert found["one sampler"] == ["RandomOverSampler"]
    assert found["unequal"] == found["unequal+clinical"] == ["mixed"]
    assert "clinical+clinical" not in found
    assert any(note.startswith("clinical+clinical is not planned") for note in run.info.notes)
    assert run.info.grid.models["half"].members == ("logistic_regression", "RandomOverSampler + dummy")
    assert run.info.grid.samplers == ("none", "RandomOverSampler", "mixed")


def test_a_fold_does_not_take_part_in_the_choice_of_its_weights(run):
    results = {result.cell: result for result in run.results}
    for repeat, fold in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cell = Cell("RandomOverSampler", "tuned", repeat, fold)
        members = [results[cell._replace(model=model)] for model in MODELS]
        others = [results[cell._replace(model=model, fold=1 - fold)] for model in MODELS]
        mean = {}
        for weight in np.linspace(0, 1, 201):
            ratio = [np.log(one.probabilities * one.natural_mix / one.training_mix) for one in others]
            moved = np.exp(weight * ratio[0] + (1 - weight) * ratio[1])
            of_true = moved[np.arange(len(moved)), others[0].labels] / moved.sum(axis=1)
            mean[weight] = -np.log(of_true).mean()
        best = min(mean, key=mean.get)
        logs = best * np.log(members[0].probabilities) + (1 - best) * np.log(members[1].probabilities)
        expected = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(results[cell].probabilities, expected, atol=0.02)
        assert f"logistic_regression {best:.1f}"[:-1] in results[cell].notes[0]


@pytest.mark.usefixtures("bare_figures")
def test_a_report_counts_ensembles_apart_from_trained_models(run):
    html = render_page(analyze(run, draws=5))
    assert "no sampler and 1 sampler, 2 models" in html
    words = html.replace("<em>", "").replace("</em>", "")
    assert "both, clinical, half, one sampler, tuned, unequal average the probabilities" in words
    assert "mixed samplers" in html
    assert "both: mean of logistic_regression, dummy" in html


def test_the_label_audit_counts_every_trained_model_once(run, table):
    """Ensembles and rows with clinical columns repeat what their members and bases say."""
    rows = run.predictions[run.predictions["sampler"] == "none"]
    rows = rows[rows["model"].isin(MODELS)]
    mean = rows.groupby("row")[[f"p_{name}" for name in table.class_names]].mean().to_numpy()
    audit = analyze(run, draws=1).label_audit.sort_values("row")
    np.testing.assert_allclose(audit["p_label"], mean[np.arange(len(table)), table.labels], atol=1e-12)


def test_a_quick_run_averages_the_models_that_it_trains():
    asked = ["both=SVM,cnn", "c=tuned:SMOTE + CNN,cnn+clinical,cnn_thorough"]
    expected = ["both=SVM,cnn_tiny", "c=tuned:SMOTE + cnn_tiny,cnn_tiny+clinical,cnn_thorough"]
    assert _quick_members(asked) == expected


def test_an_ensemble_costs_the_sum_of_its_members(run):
    seconds = {result.cell: result.timing for result in run.results}
    cell = Cell("none", "both", 1, 1)
    both, members = seconds[cell], [seconds[cell._replace(model=model)] for model in MODELS]
    assert both.predict_seconds == pytest.approx(sum(one.predict_seconds for one in members))
    extra = both.fit_seconds - sum(one.fit_seconds for one in members)
    assert 0 <= extra < 1


def test_extending_a_run_by_ensembles_trains_nothing_and_gives_equal_bytes(run, table, tmp_path, monkeypatch):
    compare(table, tmp_path / "run", ensembles={})
    monkeypatch.setattr("skinmnist.experiment.comparison.choose_engine", lambda *_: nothing_left)
    again = compare(table, tmp_path / "run")
    assert contents(again.folder) == contents(run.folder)


def nothing_left(cells, on_running=None):
    assert not cells
    yield from ()


def test_other_members_replace_the_rows_of_an_ensemble(table, tmp_path):
    first = compare(
        table, tmp_path / "run", repeats=1, clinical=[], ensembles=["both=logistic_regression,dummy"]
    )
    asked = ["both=none+logistic_regression,none+dummy"]
    second = compare(table, tmp_path / "run", repeats=1, clinical=[], ensembles=asked)
    assert "both has changed: its earlier cells were left out" in second.info.notes
    assert len([1 for result in first.results if result.cell.model == "both"]) == 4
    assert {result.cell.sampler for result in second.results if result.cell.model == "both"} == {"none"}


def test_an_ensemble_fails_with_its_member(table, tmp_path):
    models = {"fails": Fails(), "dummy": "dummy"}
    asked = {"both": ["dummy", "fails"], "fine": ["none + dummy", "RandomOverSampler + dummy"]}
    record = compare(table, tmp_path / "run", models=models, repeats=1, ensembles=asked)
    reasons = {failure.cell: failure.reason for failure in record.failures}
    assert reasons[Cell("none", "both", 0, 1)] == "its member fails failed: RuntimeError: no luck"
    assert reasons[Cell("none", "both+clinical", 0, 1)].startswith("its base both failed: its member fails")
    assert {result.cell.model for result in record.results} == {
        "dummy",
        "dummy+clinical",
        "fine",
        "fine+clinical",
    }
    assert json.loads((record.folder / "run.json").read_text())["arguments"]["ensembles"]["both"]
    assert len(read_run(record.folder).results) == len(record.results)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["both"], "expected a name and its members, such as both=svm,cnn"),
        ("both=dummy", "received 1 member of the ensemble 'both'; expected at least two"),
        ({"both": ["dummy", "Dummy"]}, "received 'dummy' twice in the ensemble 'both'"),
        ({"both": ["dummy", "dumy"]}, "'dumy', which is not in this run; did you mean 'dummy'"),
        ({"both": ["dummy", "SMOTE + dummy"]}, "'SMOTE . dummy', which is not in this run"),
        ({"both": ["dummy", "cnn"]}, "add it to --models"),
        ({"both": ["dummy", 3]}, "received 3 as a member of the ensemble 'both'"),
        ({"both": 3}, "received 3 as the members of 'both'"),
        ({"dummy": MODELS}, "the ensemble 'dummy', which is also a sampler or model; rename it"),
        ({"both+clinical": MODELS}, "does not end in .clinical"),
        ({"a\nb": MODELS}, "as the name of an ensemble"),
        (3, "received 3 as ensembles"),
        (["a=dummy,logistic_regression", "a=dummy,logistic_regression"], "the ensemble 'a' twice"),
    ],
)
def test_ensembles_that_are_refused(asked, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        parse_ensembles(asked, PAIRS, folds=2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("validated", "where"), [(False, "the other folds"), (True, "the validation set")])
def test_the_note_says_where_weights_were_chosen(run, validated, where):
    results = {result.cell: result for result in run.results}
    cells = [Cell("none", model, 0, fold) for fold in (0, 1) for model in MODELS]
    bases = [results[cell] for cell in cells]
    if validated:
        bases = [replace(one, validation=Answers(one.labels, one.probabilities)) for one in bases]
    derived = replace(ENSEMBLE, tuned=True).derive(Cell("none", "both", 0, 0), bases)
    assert derived.notes[0].startswith(f"weights chosen on {where}: logistic_regression ")


def test_weights_need_rows_to_choose_them_on():
    asked = {"both": "tuned:dummy, logistic_regression"}
    found, notes = parse_ensembles(asked, PAIRS, folds=1)
    assert not found
    assert notes[0].startswith("both is not planned: this split has neither other folds nor a validation set")
    found, notes = parse_ensembles(asked, PAIRS, folds=1, validated=True)
    assert found["both"].tuned
    assert not notes


def test_a_probability_of_zero_does_not_veto_a_class(run):
    results = {result.cell: result for result in run.results}
    members = [results["none", model, 0, 0] for model in MODELS]
    certain = np.zeros_like(members[0].probabilities)
    certain[:, 0] = 1.0
    contrary = np.roll(certain, 1, axis=1)
    vary = [
        one.__class__(**{**vars(one), "probabilities": p})
        for one, p in zip(members, (certain, contrary), strict=True)
    ]
    ensemble = Ensemble("both", ((None, "a"), (None, "b")), tuned=False, folds=2)
    found = ensemble.derive(Cell("none", "both", 0, 0), vary).probabilities
    np.testing.assert_allclose(found[:, :2], 0.5, atol=1e-5)


def test_the_better_member_gets_the_larger_weight():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    logits = [np.eye(3)[labels] * strength + rng.normal(size=(400, 3)) for strength in (3.0, 1.0, 0.0)]
    logs = np.stack([one - np.log(np.exp(one).sum(axis=1, keepdims=True)) for one in logits])
    weights = choose_weights(logs, labels)
    assert weights[0] > weights[1] >= weights[2]
    assert weights.sum() == pytest.approx(1)
    best = -np.log(pool_logs(logs, weights)[np.arange(400), labels]).mean()
    for _ in range(50):
        other = rng.dirichlet(np.ones(3))
        assert best <= -np.log(pool_logs(logs, other)[np.arange(400), labels]).mean() + 1e-4
