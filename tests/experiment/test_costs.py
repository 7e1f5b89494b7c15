"""Costs of mistakes: every form of a file, every slip, and sums over rows."""

import json

import numpy as np
import pandas as pd
import pytest

from skinmnist import make_lesions, read_run, run_comparison
from skinmnist.errors import InputError
from skinmnist.experiment.costs import note_on_costs, read_costs
from skinmnist.list import COST_LINES
from skinmnist.reporting.page import environment
from skinmnist.reporting.sections import costs, probabilities

NAMES = ("nv", "bkl", "mel")
CELL = ["sampler", "model", "repeat", "fold"]
MATRIX = np.array([[0, 1, 2], [1, 0, 3.5], [20, 20, 0]])


def frame(rows=NAMES, columns=NAMES):
    found = pd.DataFrame(MATRIX, index=NAMES, columns=NAMES)
    return found.loc[list(rows), list(columns)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "true,nv,bkl,mel\nnv,0,1,2\nbkl,1,0,3.5\nmel,20,20,0\n"),
        ("b.csv", "\ufeff,MEL,nv,Benign keratosis\n\nmelanoma,0,20,20\nNV,2,0,1\nbkl,3.5,1,0\n"),
        ("c.csv", "true;nv;bkl;mel\nnv;0;1;2\nbkl;1;0;3,5\nmel;20;20;0\n"),
        ("d.tsv", "true\tdecided\tcost\nnv\tmel\t2\nbkl\tmel\t3.5\nmel\tnv\t20\nmel\tbkl\t20\n"),
        ("e.toml", "mel = 20\nnv.mel = 2\n[bkl]\nmel = 3.5\n"),
        ("f.toml", "default = 20\n[nv]\ndefault = 1\nmel = 2\n[bkl]\nnv = 1\nmel = 3.5\n"),
    ],
)
def test_forms_of_a_file(name, content, tmp_path):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    np.testing.assert_array_equal(read_costs(path, NAMES), MATRIX)


@pytest.mark.parametrize(
    "given",
    [
        MATRIX,
        MATRIX.tolist(),
        frame(),
        frame(NAMES[::-1], ("mel", "nv", "bkl")),
        frame().rename_axis("true").reset_index(),
        {"mel": 20, "nv": {"mel": 2}, "bkl": {"mel": 3.5}},
    ],
)
def test_forms_in_python(given):
    np.testing.assert_array_equal(read_costs(given, NAMES), MATRIX)


def test_the_listed_forms_are_read(tmp_path):
    for name, about in COST_LINES.items():
        path, lines = tmp_path / name, about.split(": ")[-1].replace(" | ", "\n")
        path.write_text(lines)
        np.testing.assert_array_equal(read_costs(path, ["nv", "mel"]), [[0, 1], [20, 0]])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("true,nv,bkl\nnv,0,1\nbkl,1,0\n", "has no column for mel; expected one for each class"),
        ("true,nv,bkl,mel\nnv,0,1,2\nmel,1,1,0\n", "has no row for bkl; expected one for each class"),
        ("true,nv,bkl,mel,mel\nnv,0,1,2,2\n", "has the column 'mel' twice; keep one of them"),
        ("true,nv,bkl,mell\nnv,0,1,2\n", "'mell', which the table does not have; did you mean 'mel'?"),
        ("true,nv,bkl,x1\nnv,0,1,2\n", "'x1', which the table does not have; expected nv, bkl, mel"),
        ("true,nv,bkl,mel\nnv,0,1,2\nbkl,1,0\nmel,1,1,0\n", "equally long rows below a header"),
        ("0,1,2\n", "equally long rows below a header; `skinmnist list costs` shows its forms"),
        ("", "equally long rows below a header"),
        ("true,decided,cost\nmel,nv,much\n", "'much' as the cost of deciding nv for a true mel; expected a"),
        ({"mel": {"nv": np.inf}}, "has inf as the cost of deciding nv for a true mel; expected a number"),
        ({"mel": True}, "has True as the cost of a mistake about mel; expected a number, such as 20"),
        ({"default": "x"}, "has 'x' as the cost of a mistake about any class"),
        ({"mel": 1, "MEL": 2}, "has the row 'mel' twice"),
        (
            {"melanom": 2},
            "names the class 'melanom', which the table does not have; did you mean 'Melanoma'?",
        ),
        (np.ones((2, 2)), "expected a cost matrix of 3 x 3 finite numbers"),
        (20, "expected a cost matrix of 3 x 3 finite numbers"),
        (["x"], "received costs that are no matrix"),
        (frame().iloc[:2], "the DataFrame of costs has no row for mel"),
    ],
)
def test_a_slip_is_one_sentence(given, sentence, tmp_path):
    if isinstance(given, str):
        given, content = tmp_path / "costs.csv", given
        given.write_text(content)
    with pytest.raises(InputError) as error:
        read_costs(given, NAMES)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"), [("a.toml", b"mel = = 2"), ("b.csv", b"\xff\xfe\x00"), ("", b"")]
)
def test_a_file_that_is_none(name, content, tmp_path):
    path = tmp_path / (name or "missing.csv")
    if name:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"cost file.*`skinmnist list costs` shows its forms"):
        read_costs(path, NAMES)


def test_a_slip_in_a_toml_file_is_named_once(tmp_path):
    path = tmp_path / "costs.toml"
    path.write_text('mel = "much"\n')
    with pytest.raises(InputError) as error:
        read_costs(path, NAMES)
    assert str(error.value).startswith(f"{path} has 'much' as the cost of a mistake about mel; expected")


def test_a_mistake_that_costs_less_than_the_right_decision_is_noted():
    assert note_on_costs(MATRIX, NAMES) == ()
    gains = note_on_costs(np.eye(3), NAMES)
    assert "deciding bkl for a true nv costs 0, less than the right decision (1)" in gains[0]


@pytest.fixture(scope="module")
def table():
    return make_lesions(140, size=8)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    given = {"default": 2, "mel": {"default": 30, "nv": 50}, "nv": {"mel": 0.5, "nv": -1}}
    return run_comparison(
        table,
        ["none", "RandomOverSampler"],
        ["logistic_regression"],
        folds=3,
        jobs=1,
        costs=given,
        conformal=0.2,
        out=tmp_path_factory.mktemp("costs") / "run",
    )


def test_costs_equal_a_sum_over_rows(run):
    """As trained, and for the cheapest decision at the natural prior, by loops and plain arithmetic."""
    names = list(run.info.table.class_names)
    matrix = [[0.0 if i == j else 2.0 for j in names] for i in names]
    nv, mel = names.index("nv"), names.index("mel")
    matrix[mel] = [0.0 if name == "mel" else 50.0 if name == "nv" else 30.0 for name in names]
    matrix[nv][mel], matrix[nv][nv] = 0.5, -1.0
    mixes = pd.read_csv(run.folder / "class_mix.csv")
    scores = pd.read_csv(run.folder / "scores.csv").set_index([*CELL, "metric"])
    predictions = pd.read_csv(run.folder / "predictions.csv.gz")
    cells = list(predictions.groupby(CELL))
    assert len(cells) == 6
    differing = 0
    for cell, rows in cells:
        mix = mixes[(mixes[CELL] == list(cell)).all(axis=1)]
        natural, trained = (
            dict(zip(mix["class"], mix[name], strict=True)) for name in ("natural", "trained")
        )
        totals = [0.0, 0.0]
        for row in rows.to_dict("records"):
            odds = [row[f"p_{name}"] * natural[name] / trained[name] for name in names]
            expected = [
                sum(o * matrix[t][d] for t, o in enumerate(odds)) / sum(odds) for d in range(len(names))
            ]
            decided = min(range(7), key=expected.__getitem__)
            differing += decided != row["predicted"]
            totals[0] += matrix[row["label"]][row["predicted"]]
            totals[1] += matrix[row["label"]][decided]
        for name, total in zip(("as_trained", "cost_sensitive"), totals, strict=True):
            assert scores.loc[(*cell, f"cost_per_1000_{name}"), "value"] == pytest.approx(
                1000 * total / len(rows)
            )
    assert differing > 10


def test_prior_correction_and_the_majority_have_costs(run):
    """A cost-sensitive decision at the natural prior is the same before and after prior correction."""
    board = run.leaderboard("cost_per_1000_cost_sensitive")
    assert board["mean"].is_monotonic_increasing
    means = board.set_index(["sampler", "model"])["mean"]
    own = means["prior_correction", "logistic_regression"]
    assert own == pytest.approx(means["none", "logistic_regression"])
    majority = run.analysis.majority_scores
    labels = run.predictions.drop_duplicates("row").groupby("fold")["label"]
    assert majority["metric"].str.startswith("cost_per").sum() == 2 * labels.ngroups
    assert "cost_per_1000_as_trained" in run.analysis.leaderboard


def test_costs_are_kept_in_the_folder_and_shown(run, table):
    again = read_run(run.folder)
    pd.testing.assert_frame_equal(again.scores, run.scores)
    for section, words in (
        (costs, ["Expected cost of mistakes", "A mistake costs 2, ", "30 to 50 for a missed mel"]),
        (probabilities, ['id="sets"', "in 80 of 100 pictures", "to calibrate akiec, df and vasc, so"]),
    ):
        template = environment().get_template(f"sections/{section.__name__.rpartition('.')[2]}.html")
        shared = {"classes": [], "columns": [], "units": "lesions", "validated": False}
        page = template.render(shared | section.context(run.analysis))
        assert not [one for one in words if one not in page]
    info = json.loads((run.folder / "run.json").read_text())
    assert info["conformal"] == 0.2
    assert info["costs"][0][0] == 0.0
    # A run without costs in the same folder trains nothing and keeps them; other costs replace them.
    options = {"folds": 3, "jobs": 1, "out": run.folder}
    kept = run_comparison(table, ["none"], ["logistic_regression"], **options)
    assert kept.info.costs == run.info.costs
    other = run_comparison(table, ["none"], ["logistic_regression"], costs=np.ones((7, 7)), **options)
    worst = other.scores[other.scores["metric"].str.startswith("cost")]
    assert set(worst["value"]) == {1000.0}
    assert sum(session.new_cells for session in other.info.sessions) == 6


def test_without_costs_nothing_changes(table):
    plain = run_comparison(table, ["none"], ["dummy"], folds=2, jobs=1)
    assert not plain.scores["metric"].str.contains("cost").any()
    assert not [name for name in plain.analysis.leaderboard if "cost" in name]
    assert plain.analysis.expected_costs is None
    assert plain.analysis.conformal is None
    assert not {"costs", "conformal"} & plain.info.to_json().keys()


@pytest.mark.parametrize("alpha", [0, -0.1, 0.9, 90, "much", float("nan")])
def test_a_share_that_is_none(alpha, table):
    with pytest.raises(InputError, match=r"above 0 and at most 0\.5, such as 0.1 for sets"):
        run_comparison(table, ["none"], ["dummy"], folds=2, jobs=1, conformal=alpha)
