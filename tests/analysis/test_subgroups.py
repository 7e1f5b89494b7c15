"""Scores by age group, sex and site."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinmnist.analysis.subgroups import (
    FEWEST,
    SUBGROUP_COLUMNS,
    group_rows,
    held_out_parts,
    share_with_interval,
    subgroup_scores,
)
from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.record import PATIENTS_FILE, read_patients, write_rows

NAMES = ("nv", "bkl", "mel")


@pytest.fixture
def clinical():
    """Columns of 400 rows, more than the invented predictions have."""
    random = np.random.default_rng(3)
    return {
        "age": random.choice([0.0, 29.9, 30, 44, 45, 60, 75, 130, np.nan], 400),
        "sex": random.choice(["male", "female", ""], 400),
    }


def test_every_row_is_in_one_group_of_each_column(clinical):
    groups = group_rows(clinical)
    for column in clinical:
        own = [group for group in groups if group.column == column]
        np.testing.assert_array_equal(sum(group.rows.astype(int) for group in own), 1)
        assert own[-1].name == "unknown"
    names = [group.name for group in groups]
    ages = ["under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over", "unknown"]
    assert names == [*ages, "female", "male", "unknown"]
    for name, low, high in zip(ages, (0, 30, 45, 60, 75), (30, 45, 60, 75, 200), strict=False):
        rows = groups[names.index(name)].rows
        np.testing.assert_array_equal(rows, (clinical["age"] >= low) & (clinical["age"] < high))


def test_groups_without_rows_are_left_out():
    assert [group.name for group in group_rows({"age": np.array([50.0]), "sex": np.array(["x"])})] == [
        "45 to 59",
        "x",
    ]


def test_scores_are_shares_of_the_groups_own_pictures(invented, clinical):
    predictions, lesions = invented()
    scores = subgroup_scores(predictions, NAMES, clinical, lesions)
    assert tuple(scores.columns) == SUBGROUP_COLUMNS
    assert list(dict.fromkeys(scores["metric"])) == ["accuracy", "recall_nv", "recall_bkl", "recall_mel"]
    # The plain way: one pair, one group, one class, counted row by row.
    one = predictions[(predictions["sampler"] == "none") & (predictions["model"] == "cnn")].to_dict("records")
    checked = 0
    for row in scores[(scores["model"] == "cnn") & (scores["column"] == "sex")].to_dict("records"):
        word = "" if row["group"] == "unknown" else row["group"]
        own = [entry for entry in one if clinical["sex"][entry["row"]] == word]
        if row["metric"] != "accuracy":
            own = [entry for entry in own if row["metric"] == f"recall_{NAMES[entry['label']]}"]
        right = [entry["label"] == entry["predicted"] for entry in own]
        assert row["cases"] == len(right)
        if len(right) >= FEWEST:
            assert row["value"] == pytest.approx(np.mean(right))
            assert 0 <= row["low"] < row["value"] < row["high"] <= 1
            checked += 1
        else:
            assert np.isnan([row["value"], row["low"], row["high"]]).all()
    assert checked > 4


def test_counts_of_a_column_add_up_to_the_pictures(invented, clinical):
    predictions, lesions = invented()
    scores = subgroup_scores(predictions, NAMES, clinical, lesions)
    pictures = predictions["row"].nunique()
    own = scores[(scores["metric"] == "accuracy") & (scores["model"] == "cnn")]
    assert (own.groupby("column")["pictures"].sum() == pictures).all()
    assert (own["cases"] == own["pictures"]).all()
    assert (own["lesions"] <= own["pictures"]).all()
    recalls = scores[scores["metric"].str.startswith("recall_") & (scores["model"] == "cnn")]
    assert recalls.groupby("column")["cases"].sum().tolist() == [pictures, pictures]


def test_repeats_are_averaged_picture_by_picture(invented, clinical):
    predictions, lesions = invented()
    again = pd.concat([predictions, predictions.assign(repeat=1)], ignore_index=True)
    once = subgroup_scores(predictions, NAMES, clinical, lesions)
    pd.testing.assert_frame_equal(subgroup_scores(again, NAMES, clinical, lesions), once)


def test_without_columns_or_cells_there_is_nothing_to_say(invented, clinical):
    predictions, _ = invented()
    assert subgroup_scores(predictions, NAMES, {}).empty
    empty = subgroup_scores(predictions.iloc[:0], NAMES, clinical)
    assert tuple(empty.columns) == SUBGROUP_COLUMNS
    assert empty.empty


def test_columns_of_another_table_are_refused(invented, clinical):
    predictions, _ = invented()
    with pytest.raises(InputError, match="clinical columns of 9 rows and predictions of row"):
        subgroup_scores(predictions, NAMES, {"age": clinical["age"][:9]})


def test_copies_of_a_picture_make_nobody_surer():
    right = np.random.default_rng(0).integers(0, 2, 50).astype(float)
    once = share_with_interval(right, np.arange(50))
    thrice = share_with_interval(right.repeat(3), np.arange(50).repeat(3))
    assert thrice == pytest.approx(once)
    alone = share_with_interval(right.repeat(3), np.arange(150))
    assert alone.high - alone.low < 0.7 * (once.high - once.low)


def test_independent_pictures_get_the_interval_of_wilson():
    # Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263 give 0.2553 to 0.3662.
    share = share_with_interval(np.repeat([1.0, 0.0], [81, 182]), np.arange(263))
    assert (share.low, share.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    # All right: by lesions, for nothing else is known of how alike their pictures are.
    sure = share_with_interval(np.ones(60), np.arange(30).repeat(2))
    assert (sure.value, sure.high) == pytest.approx((1.0, 1.0))
    assert sure.low == pytest.approx(share_with_interval(np.ones(30), np.arange(30)).low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        units = np.arange(80).repeat(random.integers(1, 5, 80))
        chance = random.beta(3, 2, 80)  # of mean 0.6; pictures of a lesion share theirs
        share = share_with_interval((random.random(len(units)) < chance[units]).astype(float), units)
        held += share.low <= 0.6 <= share.high
    assert 0.91 < held / 400 < 0.985


def test_patients_are_written_into_the_folder(lesions, tmp_path):
    write_rows(tmp_path, lesions)
    kept = read_patients(tmp_path, len(lesions))
    assert list(kept) == ["age", "sex", "localization"]
    for column, values in lesions.clinical.items():
        np.testing.assert_array_equal(kept[column], values)
    path = tmp_path / PATIENTS_FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"patients.npz is damaged"):
        read_patients(tmp_path, len(lesions))
    write_rows(tmp_path, replace(lesions, clinical=None))
    assert not path.exists()
    assert read_patients(tmp_path, len(lesions)) == {}


def test_parts_that_are_held_out_in_turn_are_groups():
    predictions = pd.DataFrame({"row": [4, 1, 4, 3], "fold": [1, 0, 1, 0]})
    assert held_out_parts(predictions, ["here", "elsewhere"], 6).tolist() == [
        "",
        "here",
        "",
        "here",
        "elsewhere",
        "",
    ]
