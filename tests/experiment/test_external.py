"""External tests: the other table beside the first, and the run that is made of both."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from skinmnist import facts, make_lesions, read_run, run_comparison
from skinmnist.datasets.joining import join_tables
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment import comparison
from skinmnist.experiment.given_splits import GivenInfo
from skinmnist.experiment.metrics import score
from skinmnist.experiment.splits import LEFT_OUT, external_folds, training_rows
from skinmnist.reporting.page import write_page


def join_external(table, other, rows=None):
    return join_tables(table, other), external_folds(table, other, rows)


def renamed(table: PixelTable, name: str) -> PixelTable:
    """Return a table whose pictures and lesions have ids of their own."""
    ids = {key: np.char.add(f"{name} ", getattr(table, key)) for key in ("lesion_ids", "image_ids")}
    return replace(table, name=name, **ids)


@pytest.fixture(scope="module")
def tables():
    return [renamed(make_lesions(n, size=8, random_state=n), f"table-{n}") for n in (90, 84)]


def test_the_first_is_trained_on_and_the_other_held_out(tables):
    table, other = tables
    # The other table has its classes in another order.
    order = [*range(1, 7), 0]
    names = tuple(other.class_names[code] for code in order)
    turned = replace(other, class_names=names, labels=np.argsort(order)[other.labels])
    joined, given = join_external(table, turned)
    [fold_of] = given.fold_of
    assert (fold_of == 0).tolist() == [False] * 90 + [True] * 84
    assert training_rows(fold_of, 0).tolist() == [True] * 90 + [False] * 84
    np.testing.assert_array_equal(joined.labels, np.concatenate([table.labels, other.labels]))
    np.testing.assert_array_equal(joined.pixels, np.concatenate([table.pixels, other.pixels]))
    assert joined.notes == ()
    some = np.arange(0, 90, 2)
    [fold_of] = join_external(table, other, some)[1].fold_of
    assert np.flatnonzero(training_rows(fold_of, 0)).tolist() == some.tolist()
    assert (fold_of[1:90:2] == LEFT_OUT).all()


def test_what_both_tables_show_is_counted(tables):
    table, other = tables
    both = replace(
        other,
        lesion_ids=np.array([table.lesion_ids[0], *other.lesion_ids[1:]]),
        image_ids=np.array([*table.image_ids[:2], *other.image_ids[2:]]),
    )
    joined, given = join_external(table, both)
    assert joined.notes[0].startswith("WARNING: 2 image_ids are in both table-90 and table-84")
    assert GivenInfo.of_folds(given, joined).held_out[0].seen_pictures == 1


def test_the_unknown_stays_unknown(tables):
    table, other = tables
    joined, _ = join_external(table, replace(other, lesion_ids=None, clinical={"sex": other.clinical["sex"]}))
    assert joined.n_lesions == table.n_lesions + len(other)
    assert joined.notes == (
        "table-84 has no lesion ids: each of its pictures counts as a separate lesion",
        "table-84 has no age, localization: unknown of all its pictures",
    )
    assert np.isnan(joined.clinical["age"][90:]).all()
    assert joined.clinical["sex"][90:].tolist() == other.clinical["sex"].tolist()
    assert set(joined.clinical["localization"][90:]) == {""}
    alone = join_external(replace(table, lesion_ids=None), replace(other, lesion_ids=None))[0]
    assert alone.lesion_ids is None


def test_other_classes_and_sizes_are_refused(tables):
    table, other = tables
    misspelt = replace(other, class_names=("akiec", "BCC", *facts.CLASS_NAMES[2:]))
    with pytest.raises(InputError, match=r"has the classes akiec, BCC, .* expected the same names"):
        join_external(table, misspelt)
    with pytest.raises(
        InputError, match=r"expected 8 x 8 x 3, as in .*skinmnist.build FOLDER --size 8x8 --out table-84.csv"
    ):
        join_external(table, replace(other, pixels=other.pixels[:, :48], shape=(4, 4, 3)))
    grey = [replace(one, pixels=one.pixels[:, :64], shape=(8, 8, 1)) for one in tables]
    with pytest.raises(InputError, match="--size 8x8 --mode L"):
        join_external(grey[0], other)


@pytest.fixture(scope="module")
def run(tables, tmp_path_factory):
    table, other = tables
    out = tmp_path_factory.mktemp("run") / "run"
    return run_comparison(
        table, ["none", "RandomOverSampler"], ["logistic_regression"], folds=2, jobs=1, out=out, test=other
    )


def test_scores_stand_beside_those_of_the_cross_validation(run, tables):
    found = run.analysis.external.set_index(["sampler", "model", "metric"])
    pd.testing.assert_frame_equal(pd.read_csv(run.folder / "external.csv"), run.analysis.external)
    for result in run.external.results:
        sampler, model = result.cell[:2]
        np.testing.assert_array_equal(result.rows, 90 + np.arange(84))
        np.testing.assert_array_equal(result.labels, tables[1].labels)
        scores = score(result.labels, result.predicted, result.probabilities, tables[0].class_names)
        for metric in ("macro_f1", "accuracy", "macro_auc"):
            row = found.loc[sampler, model, metric]
            own = run.scores.query("sampler == @sampler and metric == @metric")["value"]
            assert row["external"] == pytest.approx(scores[metric])
            assert row["value"] == pytest.approx(own.mean())
            assert row["drop"] == pytest.approx(own.mean() - scores[metric])
            assert row["low"] <= row["external"] <= row["high"]
    assert len(run.external.results) == 2


def test_the_run_is_read_back_and_shown(run):
    again = read_run(run.folder)
    pd.testing.assert_frame_equal(again.analysis.external, run.analysis.external)
    assert (run.folder / "external" / "intervals.csv").is_file()
    page = write_page(again.analysis).read_text(encoding="utf-8")
    assert "Trained on all of table-90 and tested on table-84" in page
    assert page.count('id="external"') == 1


def test_without_a_folder_the_external_run_is_at_hand(run, tables):
    again = run_comparison(tables[0], ["none"], ["logistic_regression"], folds=2, jobs=1, test=tables[1])
    own = run.analysis.external.query("sampler == 'none'").reset_index(drop=True)
    pd.testing.assert_frame_equal(
        again.analysis.external.query("sampler == 'none'").reset_index(drop=True), own
    )
    assert again.external.analysis.intervals["draws"].max() == 1000


def test_another_external_table_is_refused_before_training(tables, tmp_path):
    table, other = tables
    compare = partial(comparison.run_comparison, table, models=["dummy"], jobs=1, out=tmp_path)
    compare(["none"], folds=2, test=other)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        InputError, match=r"(\S+/external) holds a run with other data; .* remove the folder \1$"
    ):
        compare(["none", "SMOTE"], folds=2, test=table)
    with pytest.raises(InputError, match=rf"{tmp_path.name} holds a run with folds 2 instead of 3"):
        compare(["none", "SMOTE"], folds=3, test=table)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_external_test_is_left_out(tables, tmp_path):
    table, other = tables
    compare = partial(comparison.run_comparison, table, models=["dummy"], folds=2, jobs=1, out=tmp_path)
    compare(["none"], test=other)
    info = tmp_path / "external" / "run.json"
    info.write_text(info.read_text()[:100])
    for run in (compare(["none", "RandomOverSampler"]), read_run(tmp_path)):
        assert len(run.results) == 4
        assert run.external is None
        [note] = [note for note in run.info.notes if note.startswith("the external test is left out")]
        assert "its run.json is damaged; remove the folder external" in note
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"(\S+/external)/run.json is not a valid .* remove the folder \1$"):
        compare(["none", "SMOTE"], test=other)
    assert sorted(tmp_path.rglob("*")) == before


def test_results_of_changed_models_are_left_out(tables, tmp_path):
    table, other = tables

    def compare(seed, **arguments):
        models = {"changing": DummyClassifier(random_state=seed), "same": DummyClassifier(strategy="uniform")}
        run = comparison.run_comparison(
            table, ["none"], models, folds=2, jobs=1, clinical=["age"], out=tmp_path, **arguments
        )
        assert run.info.notes == read_run(run.folder).info.notes
        assert run.external.info.main_identity == run.info.identity
        noted = [note.split()[0] for note in run.info.notes if "since the external test" in note]
        return {result.cell.model for result in run.external.results}, noted

    assert compare(0, test=other) == ({"changing", "changing+clinical", "same", "same+clinical"}, [])
    assert compare(1) == ({"same", "same+clinical"}, ["changing", "changing+clinical"])


@pytest.mark.parametrize("columns", [["age"], []], ids=["one", "none"])
def test_models_have_the_clinical_columns_of_the_run(tables, columns):
    """Columns that are constant in the first table are not used, even if they vary in the other."""
    table, other = tables
    clinical = {"age": table.clinical["age"] if columns else np.full(90, 50.0), "sex": np.full(90, "male")}
    run = comparison.run_comparison(
        replace(table, clinical=clinical),
        ["none"],
        ["dummy"],
        folds=2,
        jobs=1,
        clinical=iter(clinical),
        test=other,
    )
    assert {result.cell.model for result in run.external.results} == {
        result.cell.model for result in run.results
    }
    assert run.external.info.arguments.clinical == tuple(columns)
    assert not [note for note in run.info.notes if "since the external test" in note]


def test_a_fresh_run_forgets_the_external_test(run, tables):
    again = run_comparison(tables[0], ["none"], ["dummy"], folds=2, jobs=1, out=run.folder, fresh=True)
    assert again.external is None
    assert again.analysis.external.empty
    assert not (run.folder / "external.csv").exists()
