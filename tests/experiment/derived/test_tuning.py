"""Exponents that other folds choose, and the control row made with them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_fake_run
from sklearn.metrics import balanced_accuracy_score, f1_score

from skinmnist import InputError, make_lesions, read_run, run_comparison, train_model
from skinmnist.decisions.probabilities import EXPONENTS
from skinmnist.experiment.cells import Answers, CellFailure
from skinmnist.experiment.derived.tuning import (
    TunedPlain,
    choose_exponents,
    counts_by_exponent,
    move_prior,
    validation_counts,
)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return read_run(write_fake_run(tmp_path_factory.mktemp("fake")))


def chosen_for(cells):
    return choose_exponents([counts_by_exponent(cell) for cell in cells])


def test_exponents_are_chosen_on_the_other_folds(record):
    """By scikit-learn, one exponent after the other, on the pooled rows of all folds but one."""
    scorers = {
        "tuned_macro_f1": lambda y, d: f1_score(y, d, average="macro"),
        "tuned_balanced_accuracy": balanced_accuracy_score,
    }
    cells = [result for result in record.results if result.cell[:2] == ("RandomOverSampler", "svm")]
    for place, found in enumerate(chosen_for(cells)):
        others = [cell for cell in cells if cell is not cells[place]]
        labels = np.concatenate([cell.labels for cell in others])
        for rule, scorer in scorers.items():
            values = [
                round(scorer(labels, np.concatenate([move_prior(cell, e).predicted for cell in others])), 12)
                for e in EXPONENTS
            ]
            assert found[rule] == EXPONENTS[int(np.argmax(values))]
    assert len({found[rule] for rule in scorers}) == 2


def test_a_validation_part_chooses_for_its_own_cell(record):
    """What a cell held out, and other cells, have no say: the exponents are those of the validation part."""
    first, second, *_ = [result for result in record.results if result.cell[:2] == ("none", "cnn")]
    aside = Answers(second.labels, second.probabilities)
    cell = replace(first, validation=aside)
    [alone] = choose_exponents([counts_by_exponent(cell)], validation_counts([cell]))
    # Two cells choose for each other, so the first one has what the second one holds out.
    seen = replace(first, labels=second.labels, probabilities=second.probabilities)
    assert alone == chosen_for([first, seen])[0]
    assert validation_counts([first]) == []


def test_what_one_fold_holds_out_does_not_choose_for_it(record):
    """Other labels in a fold change the exponents of the others, and not its own."""
    cells = [result for result in record.results if result.cell[:2] == ("none", "cnn")]
    rng = np.random.default_rng(0)
    changed = [replace(cells[0], labels=rng.integers(0, 7, len(cells[0].labels))), *cells[1:]]
    before, after = chosen_for(cells), chosen_for(changed)
    assert before[0] == after[0]
    assert before[1:] != after[1:]


SAMPLERS = ["none", "tuned_plain"]


@pytest.fixture(scope="module")
def table():
    return make_lesions(150, size=8)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "run"
    models, ensembles = ["logistic_regression", "dummy"], {"both": ["logistic_regression", "dummy"]}
    return run_comparison(
        table, ["tuned_plain"], models, folds=3, jobs=1, clinical=["age"], ensembles=ensembles, out=folder
    )


def test_rows_are_those_of_none_at_the_exponent_of_the_other_folds(run):
    """By pandas and scikit-learn, from the stored predictions and the true labels."""
    rows = pd.read_csv(run.folder / "predictions.csv.gz")
    columns = [name for name in rows if name.startswith("p_")]
    names = [name.removeprefix("p_") for name in columns]
    assert set(rows["sampler"]) == {"none", "tuned_plain"}
    models = {"logistic_regression", "dummy", "both"}
    assert set(rows["model"]) == models | {f"{name}+clinical" for name in models}
    for model in ("logistic_regression", "both+clinical"):
        own = rows[rows["model"] == model]
        plain, tuned = (
            own[own["sampler"] == name].reset_index(drop=True) for name in ("none", "tuned_plain")
        )
        truth = plain["label"].map(lambda label: names[label] if isinstance(label, int) else label)
        for fold in range(3):
            here, others = plain["fold"] == fold, plain["fold"] != fold
            best, score = None, -1.0
            for exponent in np.linspace(0, 2, 41):
                moved = plain[columns].to_numpy().copy()
                for one in range(3):
                    shares = (
                        truth[plain["fold"] != one].value_counts(normalize=True).reindex(names).to_numpy()
                    )
                    moved[plain["fold"] == one] /= np.nan_to_num(shares, nan=np.inf) ** exponent
                moved /= moved.sum(axis=1, keepdims=True)
                decided = np.array(names)[moved[others].round(11).argmax(axis=1)]
                found = f1_score(truth[others], decided, average="macro", labels=sorted(set(truth[others])))
                if found > score + 1e-9:
                    best, score = moved[here], found
            np.testing.assert_allclose(tuned.loc[here, columns], best, atol=1e-9, err_msg=f"{model} {fold}")


def test_none_is_added_with_a_note_and_a_later_run_makes_nothing_new(run, table):
    assert "none is added: tuned_plain is made from its cells" in run.info.notes
    before = (run.folder / "scores.csv").read_bytes()
    again = run_comparison(table, SAMPLERS, ["logistic_regression"], folds=3, jobs=1, out=run.folder)
    assert again.info.sessions == run.info.sessions
    assert (run.folder / "scores.csv").read_bytes() == before


def test_its_natural_prior_is_that_of_none(run):
    points = run.analysis.operating_points.query("model == 'logistic_regression' and metric == 'macro_auc'")
    plain, tuned = (points.query(f"rule == 'natural_prior' and sampler == {name!r}") for name in SAMPLERS)
    np.testing.assert_allclose(tuned["value"], plain["value"], atol=1e-9)
    f1 = run.analysis.operating_points.query("model == 'logistic_regression' and metric == 'macro_f1'")
    trained = f1.query("rule == 'as_trained' and sampler == 'tuned_plain'")["value"]
    tuned = f1.query("rule == 'tuned_macro_f1' and sampler == 'none'")["value"]
    np.testing.assert_allclose(trained, tuned)


def test_a_validation_set_chooses_in_place_of_other_folds(record):
    first, second, *_ = [result for result in record.results if result.cell[:2] == ("none", "cnn")]
    base = replace(first, validation=Answers(second.labels, second.probabilities))
    rule, cell = TunedPlain("none", folds=1, validated=True), first.cell._replace(sampler="tuned_plain")
    assert rule.needs(cell) == (first.cell,)
    found = rule.finish(cell, [base])
    exponent = choose_exponents([counts_by_exponent(base)], validation_counts([base]))[0]["tuned_macro_f1"]
    np.testing.assert_array_equal(found.probabilities, move_prior(first, exponent).probabilities)
    wanted = base.natural_mix ** (1 - exponent)
    np.testing.assert_allclose(found.training_mix, wanted / wanted.sum())


def test_it_fails_with_its_base(record):
    first, second, *_ = [result for result in record.results if result.cell[:2] == ("none", "cnn")]
    cell = first.cell._replace(sampler="tuned_plain")
    outcome = TunedPlain("none", 2).finish(cell, [first, CellFailure(second.cell, "no luck")])
    assert outcome == CellFailure(cell, f"its base none + cnn failed on fold {second.cell.fold}: no luck")


def test_a_single_fold_has_no_such_row(table):
    run = run_comparison(table, SAMPLERS, ["dummy"], split="holdout", jobs=1)
    assert set(run.scores["sampler"]) == {"none"}
    assert any("tuned_plain is not planned" in note for note in run.info.notes)


def test_it_is_not_trained(table):
    with pytest.raises(InputError, match="made from finished cells of a comparison; train with none"):
        train_model(table, "dummy", "tuned_plain")
