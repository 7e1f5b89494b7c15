"""Metadata beside a table: names of classes, rows and lesions, and what users do to them."""

import csv
from itertools import permutations

import numpy as np
import pytest
from alterations import QUIETLY
from hypothesis import given, settings
from hypothesis import strategies as st

from skinmnist import facts, run_comparison
from skinmnist.datasets.classes_file import Stated
from skinmnist.datasets.hmnist import fits_collection, load_hmnist
from skinmnist.datasets.joining import join_metadata
from skinmnist.datasets.metadata import read_metadata
from skinmnist.experiment.metrics import score

#: As MedMNIST and scikit-learn's LabelEncoder number the classes.
ALPHABETICAL = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
#: As ``pd.Categorical`` numbers the titles of the classes in many notebooks.
BY_TITLE = ("akiec", "bcc", "bkl", "df", "nv", "mel", "vasc")
HEADER = ("lesion_id", "image_id", "dx", "age", "sex", "localization")
MALIGNANT = {"akiec", "bcc", "mel"}


@pytest.fixture(scope="module")
def rows(lesions):
    """One dict of cells for each picture of the synthetic table."""
    names = [facts.CLASS_NAMES[label] for label in lesions.labels]
    return [
        {
            "lesion_id": lesion,
            "image_id": f"ISIC_{row:07d}",
            "dx": name,
            "age": "50.0",
            "sex": "male",
            "localization": "back",
        }
        for row, (lesion, name) in enumerate(zip(lesions.lesion_ids.tolist(), names, strict=True))
    ]


@pytest.fixture
def write(tmp_path, lesions):
    """Return a writer of the synthetic table, by names in the order of their codes, and of metadata."""

    def write(rows, order=facts.CLASS_NAMES, labels=None, image_ids=None, keep=None):
        keep = np.arange(len(lesions)) if keep is None else keep
        if labels is None:
            labels = [order.index(facts.CLASS_NAMES[label]) for label in lesions.labels]
        table = tmp_path / "t.csv"
        with table.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            names = [f"pixel{column:04d}" for column in range(lesions.pixels.shape[1])]
            writer.writerow([*names, "label", *(["image_id"] if image_ids is not None else [])])
            for row in keep:
                cells = [*lesions.pixels[row].tolist(), labels[row]]
                writer.writerow([*cells, *([image_ids[row]] if image_ids is not None else [])])
        if rows is not None:
            with (tmp_path / "t_metadata.csv").open("w", newline="") as file:
                described = csv.DictWriter(file, HEADER, lineterminator="\n")
                described.writeheader()
                described.writerows(rows)
        return table

    return write


def changed(rows, *at, **cells):
    return [{**cells_of, **cells} if row in at else cells_of for row, cells_of in enumerate(rows)]


# Names of classes


@pytest.mark.parametrize("order", [facts.CLASS_NAMES, ALPHABETICAL, BY_TITLE, tuple(reversed(ALPHABETICAL))])
def test_diagnoses_name_the_codes_whatever_their_order(order, rows, write):
    table = load_hmnist(write(rows, order))
    assert table.class_names == order
    assert table.notes[0].startswith("class names come from dx of t_metadata.csv")
    assert ("not those of HAM10000" in table.notes[0]) == (order != facts.CLASS_NAMES)


def test_the_order_of_medmnist_is_not_that_of_the_kaggle_tables():
    assert tuple(sorted(facts.CLASS_NAMES)) == ALPHABETICAL
    assert [ALPHABETICAL.index(name) for name in facts.CLASS_NAMES] == [0, 1, 2, 3, 5, 6, 4]


@settings(max_examples=100, derandomize=True, **QUIETLY)
@given(order=st.permutations(facts.CLASS_NAMES), seed=st.integers(0, 2**31))
def test_the_recall_of_melanoma_is_that_of_melanoma(order, seed, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    random = np.random.default_rng(seed)
    some = [rows[row] for row in random.permutation(len(rows))]
    labels = [order.index(cells["dx"]) for cells in some]
    text = "".join(f"{row % 256},{label}\n" for row, label in enumerate(labels))
    (folder / "t.csv").write_text(f"pixel0000,label\n{text}")
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as file:
        described = csv.DictWriter(file, HEADER)
        described.writeheader()
        described.writerows(some)
    table = load_hmnist(folder / "t.csv")
    predicted = random.integers(0, 7, len(table))
    scores = score(table.labels, predicted, np.eye(7)[predicted], table.class_names)
    found = [
        order[code] == "mel" for cells, code in zip(some, predicted, strict=True) if cells["dx"] == "mel"
    ]
    assert scores["recall_mel"] == pytest.approx(np.mean(found))


def test_every_permutation_is_named_by_the_diagnoses(rows, write):
    path = write(rows)
    metadata = read_metadata(path.with_name("t_metadata.csv"))
    codes = np.array([facts.CLASS_NAMES.index(name) for name in metadata.diagnoses.tolist()])
    for order in permutations(range(7)):
        joined = join_metadata(metadata, path, np.argsort(order)[codes], None, Stated())
        assert joined.class_names == tuple(facts.CLASS_NAMES[code] for code in order)


def test_a_run_scores_melanoma_under_other_codes(rows, write):
    table = load_hmnist(write(rows, ALPHABETICAL))
    record = run_comparison(table, ["none"], ["logistic_regression"], folds=2, jobs=1)
    mel = np.array([cells["dx"] == "mel" for cells in rows])
    predictions = record.predictions
    for fold in range(2):
        own = predictions[predictions["fold"] == fold]
        held_out = mel[own["row"].to_numpy()]
        recall = (own["predicted"].to_numpy()[held_out] == ALPHABETICAL.index("mel")).mean()
        scores = record.scores[record.scores["metric"] == "recall_mel"]
        stored = scores.loc[scores["fold"] == fold, "value"]
        assert stored.tolist() == [pytest.approx(recall)]


@pytest.mark.parametrize("order", [facts.CLASS_NAMES, ALPHABETICAL, BY_TITLE])
def test_a_number_of_classes_is_no_evidence(order, write):
    table = load_hmnist(write(None, order))
    assert table.class_names == tuple(f"class_{code}" for code in range(7))
    assert "none counts as melanoma" in table.notes[0]


def test_class_sizes_fit_one_order_of_the_codes_alone():
    true = np.array(facts.ROWS_PER_CLASS)
    fitting = [order for order in permutations(range(7)) if fits_collection(true[list(order)])]
    assert fitting == [tuple(range(7))]
    # Of what lacks some rows, no class may be taken for another one, or for the rows of another table.
    assert fits_collection(true - [3, 5, 11, 1, 67, 1, 11])
    for counts in (true - [0, 0, 0, 0, 0, 0, 14], true + 1, true // 2, true * 2, np.full(7, 1113), true[:6]):
        assert not fits_collection(counts)


def test_names_may_be_stated(rows, write):
    path = write(None, ALPHABETICAL)
    table = load_hmnist(path, classes=[name.upper() for name in ALPHABETICAL])
    assert table.class_names == ALPHABETICAL
    assert table.notes == ("class names come from --classes",)
    assert load_hmnist(write(rows, ALPHABETICAL), classes=ALPHABETICAL).class_names == ALPHABETICAL


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (facts.CLASS_NAMES, "--classes calls label 4 'nv', but in {metadata} that label has the dx 'mel'"),
        (ALPHABETICAL[:6], "--classes names 6 classes, but {table} has 7; expected one name per class"),
        (["mel"] * 7, "--classes: received the class names"),
    ],
)
def test_stated_names_that_cannot_be_are_refused(classes, message, rows, write, complaint):
    path = write(rows, ALPHABETICAL)
    expected = message.format(table=path, metadata=path.with_name("t_metadata.csv"))
    assert complaint(path, classes=classes).startswith(expected)


@pytest.mark.parametrize("respell", [str.upper, str.title, lambda name: f" {name} "])
def test_diagnoses_may_be_spelt_otherwise(respell, rows, write):
    respelt = [{**cells, "dx": respell(cells["dx"])} for cells in rows]
    assert load_hmnist(write(respelt, ALPHABETICAL)).class_names == ALPHABETICAL
    # One file may spell them in several ways.
    mixed = [
        other if row % 2 else cells for row, (cells, other) in enumerate(zip(rows, respelt, strict=True))
    ]
    assert load_hmnist(write(mixed)).class_names == facts.CLASS_NAMES


# Groups of diagnoses


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        ([set(facts.CLASS_NAMES) - MALIGNANT, MALIGNANT], ("class_0", "class_1")),
        ([MALIGNANT, set(facts.CLASS_NAMES) - MALIGNANT], ("class_0", "class_1")),
        ([set(facts.CLASS_NAMES) - {"mel"}, {"mel"}], ("class_0", "mel")),
        ([{"nv"}, {"mel"}, {"akiec", "bcc"}, {"bkl", "df", "vasc"}], ("nv", "mel", "class_2", "class_3")),
    ],
)
def test_many_diagnoses_to_one_label_are_a_grouping(groups, names, rows, write, lesions):
    labels = [next(code for code, group in enumerate(groups) if cells["dx"] in group) for cells in rows]
    table = load_hmnist(write(rows, labels=labels))
    assert table.class_names == names
    assert table.n_lesions == lesions.n_lesions
    for group in groups:
        assert ", ".join(sorted(group)) in table.notes[0]
    stated = [f"group {code}" for code in range(len(groups))]
    assert load_hmnist(write(rows, labels=labels), classes=stated).class_names == tuple(stated)


def test_a_group_may_not_bear_the_name_of_another_diagnosis(rows, write, complaint):
    path = write(rows, labels=[int(cells["dx"] in MALIGNANT) for cells in rows])
    assert "--classes calls label 1 'mel', but" in complaint(path, classes=["benign", "mel"])
    assert load_hmnist(path, classes=["benign", "malignant"]).class_names == ("benign", "malignant")


def test_labels_finer_than_diagnoses_are_refused(rows, write, complaint, lesions):
    labels = [code + 3 * (code == 4 and row % 2) for row, code in enumerate(lesions.labels.tolist())]
    assert "expected one label per dx, so merge these labels" in complaint(write(rows, labels=labels))


# Rows


def orders_of(n):
    random = np.random.default_rng(0)
    return {
        "shuffled": random.permutation(n),
        "reversed": np.arange(n)[::-1],
        "moved": np.roll(np.arange(n), 7),
    }


@pytest.mark.parametrize("order", ["shuffled", "reversed", "moved"])
def test_rows_in_another_order_are_refused_or_joined_by_their_names(order, rows, write, complaint, lesions):
    moved = [rows[row] for row in orders_of(len(rows))[order]]
    path = write(moved)
    sentence = complaint(path)
    assert "holds the same rows in another order" in sentence
    assert "add a column image_id to the table" in sentence
    assert "--metadata none" in sentence
    path = write(moved, image_ids=[cells["image_id"] for cells in rows])
    table = load_hmnist(path)
    assert table.lesion_ids.tolist() == lesions.lesion_ids.tolist()
    assert table.class_names == facts.CLASS_NAMES
    assert table.notes[0].startswith("t_metadata.csv is joined by image_id: its rows are in another order")


@pytest.mark.parametrize("part", [slice(0, 300), slice(None, None, 2), slice(40, None)])
def test_a_part_of_the_rows_is_joined_by_their_names(part, rows, write, complaint, lesions):
    keep = np.arange(len(rows))[part]
    assert f"has {len(rows)} rows, but" in (sentence := complaint(write(rows, keep=keep)))
    assert "--metadata none" in sentence
    path = write(rows, keep=keep, image_ids=[cells["image_id"] for cells in rows])
    table = load_hmnist(path)
    assert table.lesion_ids.tolist() == lesions.lesion_ids[keep].tolist()
    assert f"{len(rows) - len(keep)} of its {len(rows)} rows match no picture" in table.notes[0]
    assert load_hmnist(path, metadata=False).lesion_ids is None
    assert load_hmnist(path, metadata=False).image_ids.tolist() == [rows[row]["image_id"] for row in keep]


def test_pictures_that_stand_several_times_are_joined_by_their_names(rows, write, lesions):
    keep = np.random.default_rng(0).integers(0, len(rows), 700)
    keep[:360] = np.arange(360)
    table = load_hmnist(write(rows, keep=keep, image_ids=[cells["image_id"] for cells in rows]))
    assert table.lesion_ids.tolist() == lesions.lesion_ids[keep].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: rows[1:],
            "row 0 (line 2), column 'image_id': received 'ISIC_0000000', which does not occur",
        ),
        (lambda rows: [*rows, rows[3]], "received 'ISIC_0000003', which occurs more than once in"),
        (lambda rows: changed(rows, 5, image_id="ISIC_x"), "received 'ISIC_0000005', which does not occur"),
    ],
)
def test_pictures_without_a_row_of_their_own_are_named(change, message, rows, write, complaint):
    path = write(change(rows), image_ids=[cells["image_id"] for cells in rows])
    sentence = complaint(path)
    assert message in sentence
    assert "--metadata none" in sentence


def test_a_few_wrong_diagnoses_are_no_other_order(rows, write, complaint):
    wrong = [row for row, cells in enumerate(rows) if cells["dx"] == "nv"][:3]
    sentence = complaint(write(changed(rows, *wrong, dx="mel")))
    assert f"row {wrong[0]} (line {wrong[0] + 2}), column 'dx': 'mel' with label 4" in sentence
    assert "3 of 360 rows disagree like this; fix them" in sentence


# Lesions


@pytest.mark.parametrize("word", ["", " ", "unknown", "Unknown", "NaN", "None", "na", "NULL", "-", "?"])
def test_a_picture_without_a_lesion_id_is_a_lesion_of_its_own(word, rows, write, lesions):
    known = load_hmnist(write(rows)).lesion_ids
    at = range(0, len(rows), 5)
    table = load_hmnist(write(changed(rows, *at, lesion_id=word)))
    others = np.setdiff1d(np.arange(len(rows)), at)
    assert table.lesion_ids[others].tolist() == known[others].tolist()
    own = table.lesion_ids[list(at)].tolist()
    assert len(set(own)) == len(own)
    assert not set(own) & set(known)
    assert table.notes[-1].startswith("72 of 360 pictures have no lesion_id in t_metadata.csv")
    every = load_hmnist(write(changed(rows, *range(len(rows)), lesion_id=word)))
    assert every.lesion_ids is None


def test_own_lesions_take_no_name_that_is_taken(rows, write):
    taken = f"lesion of {rows[0]['image_id']}"
    other = next(row for row, cells in enumerate(rows) if row and cells["lesion_id"] != rows[0]["lesion_id"])
    ids = load_hmnist(write(changed(changed(rows, 0, lesion_id=""), other, lesion_id=taken))).lesion_ids
    assert ids[other] == taken
    assert (ids == ids[0]).sum() == 1


@pytest.mark.parametrize("blank", [" {}", "{} ", "\u00a0{}  "])
def test_blanks_around_ids_split_no_lesion(blank, rows, write, lesions):
    at = range(0, len(rows), 3)
    spaced = [
        {**cells, "lesion_id": blank.format(cells["lesion_id"])} if row in at else cells
        for row, cells in enumerate(rows)
    ]
    assert load_hmnist(write(spaced)).lesion_ids.tolist() == lesions.lesion_ids.tolist()


@pytest.mark.parametrize("second", ["mel", "MEL", "bkl"])
def test_a_lesion_has_one_diagnosis(second, rows, write, complaint):
    shared = next(row for row, cells in enumerate(rows) if cells["dx"] == "nv")
    other = next(row for row, cells in enumerate(rows) if cells["dx"] == second.lower())
    sentence = complaint(write(changed(rows, other, lesion_id=rows[shared]["lesion_id"], dx=second)))
    assert f"the lesion {rows[shared]['lesion_id']!r} has the dx" in sentence
    assert f"row {shared}" in sentence
    assert f"row {other}" in sentence
    assert "--metadata none" in sentence


@pytest.mark.parametrize("words", [("Male", "BACK"), (" male ", "Back "), ("MALE", " back")])
def test_words_about_patients_are_folded(words, rows, write):
    sex, localization = words
    clinical = load_hmnist(
        write(changed(rows, *range(0, 360, 2), sex=sex, localization=localization))
    ).clinical
    assert set(clinical["sex"]) == {"male"}
    assert set(clinical["localization"]) == {"back"}
    unknown = load_hmnist(write(changed(rows, *range(360), sex="None", localization="-", age="?"))).clinical
    assert set(unknown["sex"]) == set(unknown["localization"]) == {""}
    assert np.isnan(unknown["age"]).all()


# Pairs of HAM10000 that are known to show one lesion


@pytest.mark.parametrize("pair", [0, 7, 17])
def test_known_pairs_share_a_lesion(pair, rows, write):
    first, second = (f"ISIC_{number:07d}" for number in facts.SAME_LESION[pair])
    one, other = next(
        (a, b)
        for a in range(len(rows))
        for b in range(len(rows))
        if rows[a]["dx"] == rows[b]["dx"] and rows[a]["lesion_id"] != rows[b]["lesion_id"]
    )
    plain = load_hmnist(write(rows))
    table = load_hmnist(write(changed(changed(rows, one, image_id=first), other, image_id=second)))
    assert table.lesion_ids[one] == table.lesion_ids[other]
    assert table.n_lesions == plain.n_lesions - 1
    assert "1 pair of lesion ids in t_metadata.csv are merged" in " ".join(table.notes)
    alone = load_hmnist(write(changed(rows, one, image_id=first)))
    assert alone.lesion_ids.tolist() == plain.lesion_ids.tolist()


def test_the_known_pairs_are_those_of_the_paper(real_tables):
    lines = (real_tables / "duplicate_pairs.csv").read_text().split()[1:]
    assert [tuple(int(name[5:]) for name in line.split(",")) for line in lines] == list(facts.SAME_LESION)
