"""Clinical columns: what they add, what they never touch, and the same bytes whatever happens on the way."""

import dataclasses
import gzip
import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from skinmnist import Progress, run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure, CellResult, Timing
from skinmnist.experiment.derived.fusion import WEIGHT, ClinicalOdds, Fusion, add_odds, choose_columns
from skinmnist.experiment.fit_cell import fit_cell
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.splits import assign_folds
from skinmnist.models.registry import MODELS

COLUMNS = ("age", "sex", "localization")
GRID = {"samplers": ["none", "SMOTE"], "models": ["dummy", "logistic_regression"], "folds": 2}


class Fails(ClassifierMixin, BaseEstimator):
    """Never fits."""

    def fit(self, X, y):
        raise RuntimeError("no luck")

    def predict(self, X):
        """Never reached."""

    def predict_proba(self, X):
        """Never reached."""


class Watch(Progress):
    """A progress display that remembers; it may interrupt the run."""

    def __init__(self, stop_after=None):
        self.outcomes, self.stop_after = [], stop_after

    def planned(self, cells, stored, notes):
        self.cells, self.stored = cells, stored

    def finished(self, outcome, seconds_left):
        self.outcomes.append(outcome)
        if len(self.outcomes) == self.stop_after:
            raise KeyboardInterrupt


def contents(folder):
    with gzip.open(folder / "predictions.csv.gz") as file:
        return (folder / "scores.csv").read_bytes(), file.read()


def of_models(record, ending):
    frame = record.predictions
    fused = frame["model"].str.endswith("+clinical")
    return frame[fused if ending else ~fused].reset_index(drop=True)


def with_columns(table, **columns):
    return dataclasses.replace(table, clinical={**table.clinical, **columns})


@pytest.fixture(scope="module")
def run(lesions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "one"
    return run_comparison(lesions, **GRID, repeats=2, clinical=COLUMNS, jobs=2, out=folder)


@pytest.fixture
def base(lesions):
    """Invent a finished cell of fold 1."""
    folds = assign_folds(lesions, 3, 1, "lesion", 0)
    rows = np.flatnonzero(folds[0] == 1)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), len(rows))
    counts = np.bincount(lesions.labels[folds[0] != 1], minlength=7).astype(float)
    timing = Timing(240, 300, 1.0, 2.0, 3.0, 100.0)
    labels, natural, even = lesions.labels[rows], counts / counts.sum(), np.full(7, 1 / 7)
    cell = Cell("SMOTE", "svm", 0, 1)
    mixes = (counts, counts, natural, even)
    return CellResult(cell, rows, labels, probabilities, timing, *mixes, ("a note",))


def fusion(table, columns=COLUMNS):
    folds = assign_folds(table, 3, 1, "lesion", 0)
    return Fusion(choose_columns(table, columns), table.labels, folds, 7)


def test_adding_is_bayes_rule_with_a_weight():
    """Golden numbers from the definition, one number at a time."""
    given = [[0.5, 0.3, 0.2], [0.1, 0.0, 0.9], [0.2, 0.2, 0.6]]
    odds = [[0.4, -1.0, 0.7], [2.0, 3.0, -1.5], [0.0, 0.0, 0.0]]
    for weight in (0.0, 0.5, 1.0):
        found = add_odds(np.array(given), np.array(odds), weight)
        for p_row, odds_row, row in zip(given, odds, found, strict=True):
            products = [p * math.exp(odd) ** weight for p, odd in zip(p_row, odds_row, strict=True)]
            np.testing.assert_allclose(row, [product / sum(products) for product in products], rtol=1e-12)


def test_rows_of_which_nothing_is_known_keep_their_bits():
    given = np.random.default_rng(1).dirichlet(np.ones(7), 50)
    odds = np.zeros((50, 7))
    odds[::2] = np.random.default_rng(2).normal(size=(25, 7))
    found = add_odds(given, odds)
    np.testing.assert_array_equal(found[1::2], given[1::2])
    assert (found[::2] != given[::2]).any(axis=1).all()


def test_a_fused_cell_is_its_base_and_the_columns(lesions, base):
    fused = fusion(lesions).derive(base.cell.fused, [base])
    train = assign_folds(lesions, 3, 1, "lesion", 0)[0] != 1
    columns = {name: values[train] for name, values in lesions.clinical.items()}
    unseen = {name: values[~train] for name, values in lesions.clinical.items()}
    odds = ClinicalOdds(7).fit(columns, lesions.labels[train]).log_odds(unseen)
    expected = base.probabilities * np.exp(WEIGHT * odds)
    np.testing.assert_allclose(fused.probabilities, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)
    np.testing.assert_array_equal(fused.predicted, fused.probabilities.argmax(axis=1))
    assert fused.cell == Cell("SMOTE", "svm+clinical", 0, 1)
    assert fused.cell.base == base.cell
    assert base.cell.base is None
    assert fused.timing.fit_seconds > base.timing.fit_seconds
    assert fused.timing[:3] == base.timing[:3]
    assert fused.notes == ()
    assert fused.natural_mix is base.natural_mix
    assert fused.training_mix is base.training_mix


def test_held_out_rows_never_reach_the_fit(lesions, base):
    """Neither their labels nor their columns move the answer to another row."""
    before = fusion(lesions).derive(base.cell.fused, [base])
    labels, folds = lesions.labels.copy(), assign_folds(lesions, 3, 1, "lesion", 0)
    labels[base.rows] = (labels[base.rows] + 1) % 7
    other = Fusion(choose_columns(lesions, COLUMNS), labels, folds, 7).derive(base.cell.fused, [base])
    np.testing.assert_array_equal(other.probabilities, before.probabilities)
    others = base.rows[1:]
    ages, places = lesions.clinical["age"].copy(), lesions.clinical["localization"].copy()
    ages[others], places[others] = 0.0, "moon"
    after = fusion(with_columns(lesions, age=ages, localization=places)).derive(base.cell.fused, [base])
    np.testing.assert_array_equal(after.probabilities[0], before.probabilities[0])
    assert (after.probabilities[1:] != before.probabilities[1:]).any(axis=1).mean() > 0.9


def test_training_rows_do_reach_the_fit(lesions, base):
    labels = lesions.labels.copy()
    train = np.setdiff1d(np.arange(len(labels)), base.rows)
    labels[train] = np.random.default_rng(0).permutation(labels[train])
    folds = assign_folds(lesions, 3, 1, "lesion", 0)
    other = Fusion(choose_columns(lesions, COLUMNS), labels, folds, 7).derive(base.cell.fused, [base])
    assert not np.array_equal(
        other.probabilities, fusion(lesions).derive(base.cell.fused, [base]).probabilities
    )


def test_rows_that_take_no_part_are_not_learnt_from(lesions, base):
    folds = assign_folds(lesions, 3, 1, "lesion", 0)
    left_out = np.flatnonzero(folds[0] == 2)[::3]
    folds[0, left_out] = -1
    found = []
    for age in (10.0, 80.0):
        ages = lesions.clinical["age"].copy()
        ages[left_out] = age
        columns = choose_columns(with_columns(lesions, age=ages), COLUMNS)
        found.append(Fusion(columns, lesions.labels, folds, 7).derive(base.cell.fused, [base]).probabilities)
    np.testing.assert_array_equal(*found)


def test_every_pair_has_a_twin_right_behind_it(run):
    pairs = list(dict.fromkeys((entry.sampler, entry.model) for entry in run.info.cells))
    names = ("logistic_regression", "logistic_regression+clinical", "dummy", "dummy+clinical")
    assert pairs == [(sampler, name) for sampler in ("none", "SMOTE") for name in names]
    assert list(run.info.grid.models) == [*names]
    title = run.info.grid.models["dummy+clinical"].title
    assert title == "Class frequencies only + age, sex, localization"
    assert list(dict.fromkeys(zip(run.scores["sampler"], run.scores["model"], strict=True))) == pairs
    assert len(run.timings) == len(run.results) == 32
    assert run.info.arguments.clinical == (*COLUMNS,)


def test_fused_rows_are_the_base_rows_with_something_added(run, lesions):
    base, fused = of_models(run, ""), of_models(run, "+clinical")
    np.testing.assert_array_equal(base[["row", "label"]], fused[["row", "label"]])
    probabilities = [frame.filter(regex="^p_").to_numpy() for frame in (base, fused)]
    np.testing.assert_allclose(probabilities[1].sum(axis=1), 1)
    assert (probabilities[0] != probabilities[1]).any(axis=1).mean() > 0.95
    scores = run.scores[run.scores["metric"] == "macro_auc"].groupby("model")["value"].mean()
    assert scores["dummy+clinical"] > scores["dummy"] + 0.05


def test_without_the_option_nothing_changes(run, lesions, tmp_path):
    record = run_comparison(lesions, **GRID, repeats=2, jobs=2, out=tmp_path / "a")
    assert not record.predictions["model"].str.endswith("+clinical").any()
    assert of_models(run, "").equals(record.predictions)
    watch = Watch()
    again = run_comparison(
        lesions, **GRID, repeats=2, clinical=COLUMNS, jobs=2, out=tmp_path / "a", progress=watch
    )
    assert watch.stored == 16
    assert {outcome.cell.model for outcome in watch.outcomes} == {
        "dummy+clinical",
        "logistic_regression+clinical",
    }
    assert again.predictions.equals(run.predictions)
    assert contents(tmp_path / "a") == contents(run.folder)


@pytest.mark.parametrize(("stop_after", "jobs"), [(1, 2), (8, 1)])
def test_jobs_resume_and_the_order_of_asking_do_not_matter(run, lesions, tmp_path, stop_after, jobs):
    asked = {**GRID, "repeats": 2, "clinical": COLUMNS[::-1], "jobs": jobs, "out": tmp_path / "a"}
    with pytest.raises(KeyboardInterrupt):
        run_comparison(lesions, **asked, progress=Watch(stop_after))
    watch = Watch()
    run_comparison(lesions, **asked, progress=watch)
    assert watch.stored == stop_after
    assert len(watch.outcomes) == 32 - stop_after
    assert contents(tmp_path / "a") == contents(run.folder)


def test_other_columns_make_fused_cells_stale_and_no_others(lesions, tmp_path):
    asked = {"samplers": "none", "models": ["dummy"], "folds": 2, "jobs": 1, "out": tmp_path / "a"}
    first = run_comparison(lesions, **asked, clinical=COLUMNS)
    shuffled = {
        name: np.random.default_rng(3).permutation(values) for name, values in lesions.clinical.items()
    }
    watch = Watch()
    second = run_comparison(with_columns(lesions, **shuffled), **asked, clinical=COLUMNS, progress=watch)
    assert watch.stored == 2
    assert of_models(first, "").equals(of_models(second, ""))
    assert not of_models(first, "+clinical").equals(of_models(second, "+clinical"))
    note = "dummy+clinical has changed: its earlier cells were left out"
    assert note in second.info.notes
    third = run_comparison(lesions, **asked, clinical=["age"])
    assert third.info.grid.models["dummy+clinical"].title.endswith(" + age")
    assert len(third.results) == 4


def test_a_base_that_changed_takes_its_twin_along(lesions, tmp_path):
    for depth, clinical in ((1, COLUMNS), (3, ())):
        models = {"tree": DecisionTreeClassifier(max_depth=depth)}
        record = run_comparison(
            lesions, "none", models, folds=2, clinical=clinical, jobs=1, out=tmp_path / "a"
        )
    assert {result.cell.model for result in record.results} == {"tree"}
    assert list(record.info.grid.models) == ["tree"]


def test_a_base_that_fails_fails_its_twin(lesions, tmp_path):
    models = {"fails": Fails(), "dummy": "dummy"}
    record = run_comparison(lesions, "none", models, folds=2, clinical=["age"], jobs=1, out=tmp_path / "a")
    reasons = {failure.cell: failure.reason for failure in record.failures}
    for fold in (0, 1):
        reason = "its base fails failed: RuntimeError: no luck"
        assert reasons[Cell("none", "fails+clinical", 0, fold)] == reason
    assert {result.cell.model for result in record.results} == {"dummy", "dummy+clinical"}


def test_what_the_regression_raises_stays_with_its_cell(lesions, base, monkeypatch):
    def fails(self, columns, labels):
        raise ValueError("singular\nmatrix")

    monkeypatch.setattr(ClinicalOdds, "fit", fails)
    outcome = fusion(lesions).finish(base.cell.fused, [base])
    assert outcome == CellFailure(base.cell.fused, "ValueError: singular matrix")


def test_where_nothing_is_known_of_any_patient_of_a_fold_the_probabilities_stay(lesions, base):
    nothing = {"age": np.full(len(lesions), np.nan), "sex": np.full(len(lesions), "")}
    table = dataclasses.replace(lesions, clinical=nothing)
    np.testing.assert_array_equal(
        fusion(table, ["age", "sex"]).derive(base.cell.fused, [base]).probabilities, base.probabilities
    )


#: Networks share their code; the cheap one stands for those that take long.
@pytest.mark.parametrize(
    "name", [name for name in MODELS if not name.startswith("cnn") or name == "cnn_tiny"]
)
def test_every_model_goes_with_clinical_columns(name, lesions):
    plan = make_plan(lesions, ["none"], [name], 2, 1, None, 0, None, COLUMNS)
    with threadpool_limits(1):
        result = fit_cell(plan.cells[0], lesions, plan.task)
    fused = plan.fusion.finish(result.cell.fused, [result])
    assert [cell.model for cell in plan.cells] == [name] * 2 + [f"{name}+clinical"] * 2
    assert fused.cell == plan.cells[2]
    assert (fused.probabilities != result.probabilities).any()
    assert {cell.model for cell in plan.expected_seconds(lesions)} == {name}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (["age", "dx_type"], "'dx_type', which says how the diagnosis was made and is thus a leak"),
        ("dx", "'dx', which is the diagnosis itself and is thus a leak"),
        (["lesion_id"], "'lesion_id', which names the lesion and is thus a leak"),
        (["image_id"], "'image_id', which names the picture and is thus a leak"),
        (["weight"], "column 'weight'; expected columns in the metadata of table"),
        (["age", "Age"], "the clinical column 'age' twice"),
        (["sexe"], "did you mean 'sex'"),
        (["DX"], "is thus a leak"),
    ],
)
def test_columns_that_are_refused(lesions, columns, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        run_comparison(lesions, "none", "dummy", folds=2, clinical=columns)
    assert "\n" not in str(error.value)


def test_a_table_without_clinical_columns_is_one_sentence(lesions):
    with pytest.raises(InputError, match="has no clinical columns; expected metadata with age"):
        run_comparison(
            dataclasses.replace(lesions, clinical=None), "none", "dummy", folds=2, clinical=["age"]
        )


def test_names_that_look_fused_are_refused(lesions):
    for models in (["svm+clinical"], {"mine+clinical": "dummy"}):
        with pytest.raises(InputError, match=r"names ending in \+clinical come from --clinical"):
            run_comparison(lesions, "none", models, folds=2)


RNG = np.random.default_rng(0)
LABELS = RNG.choice(3, 600, p=[0.6, 0.3, 0.1])
PLACES = np.array(["face", "back", "foot"])[(LABELS + (RNG.random(600) < 0.4)) % 3]
AGES = np.clip(5 * np.rint((40 + 15 * LABELS + 10 * RNG.standard_normal(600)) / 5), 0, 85)


def frequencies(labels):
    return np.bincount(labels, minlength=3) / len(labels)


def test_words_alone_give_the_log_ratio_of_counted_frequencies():
    """With one column of words and hardly a penalty, the regression can only count."""
    odds = ClinicalOdds(3, C=1e6).fit({"place": PLACES}, LABELS).log_odds({"place": PLACES})
    for place in ("face", "back", "foot"):
        counted = np.log(frequencies(LABELS[place == PLACES]).clip(1e-12)) - np.log(frequencies(LABELS))
        found = odds[place == PLACES]
        assert (found == found[0]).all()
        often = counted > -5  # A class that never occurs at a place goes to minus infinity, slowly.
        np.testing.assert_allclose(found[0][often], counted[often], atol=0.02)


def test_the_prior_is_taken_out():
    odds = ClinicalOdds(3).fit({"age": AGES}, LABELS).log_odds({"age": AGES})
    given = np.exp(odds) * frequencies(LABELS)
    np.testing.assert_allclose(given.sum(axis=1), 1)
    np.testing.assert_allclose(given.mean(axis=0), frequencies(LABELS), atol=1e-3)


def test_age_bends():
    """Middle ages of another class than both ends: no straight line tells that."""
    ages = np.repeat(np.arange(0.0, 90.0, 5.0), 40)
    labels = ((ages > 25) & (ages < 60)).astype(int)
    odds = ClinicalOdds(2).fit({"age": ages}, labels).log_odds({"age": np.array([10.0, 45.0, 80.0, 120.0])})
    assert (odds[:, 1] > 0).tolist() == [False, True, False, False]
    assert np.isfinite(odds).all()


def test_nothing_known_says_nothing():
    columns = {"age": AGES.copy(), "place": PLACES.copy()}
    columns["age"][::7] = np.nan
    columns["place"][::5] = ""
    model = ClinicalOdds(3).fit(columns, LABELS)
    unseen = {"age": np.array([np.nan, np.nan, 70.0, 70.0]), "place": np.array(["", "moon", "", "moon"])}
    odds = model.log_odds(unseen)
    assert not odds[:2].any()
    assert odds[2].any()
    np.testing.assert_array_equal(odds[2], odds[3])


def test_that_something_is_unknown_says_nothing():
    """Ages that are missing in one class only must not give it away."""
    ages = np.where(LABELS == 2, np.nan, 50.0 + 5 * (np.arange(600) % 4))
    places = np.resize(["face", "back"], 600)
    odds = (
        ClinicalOdds(3)
        .fit({"age": ages, "place": places}, LABELS)
        .log_odds({"age": np.array([np.nan]), "place": np.array(["face"])})
    )
    assert np.abs(odds).max() < 0.5


@pytest.mark.parametrize(
    "columns",
    [
        {"age": np.full(6, np.nan)},
        {"age": np.full(6, 40.0)},
        {"place": np.full(6, "")},
        {"place": np.full(6, "face")},
        {"age": np.array([40, 50, np.nan, np.nan, np.nan, np.nan])},
    ],
    ids=["no age", "one age", "no place", "one place", "one class known"],
)
def test_columns_that_tell_nothing(columns):
    labels = np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(ClinicalOdds(3).fit(columns, labels).log_odds(columns), 0, atol=1e-6)


def test_a_class_of_which_nothing_is_known_is_left_where_it_is():
    ages = np.array([20.0, 25, 30, 70, 75, 80, np.nan, np.nan])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    odds = ClinicalOdds(3).fit({"age": ages}, labels).log_odds({"age": np.array([20.0])})
    assert odds[0, 0] > 0 > odds[0, 1]
    assert odds[0, 2] == 0
