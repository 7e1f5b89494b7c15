import hashlib

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from skinmnist import facts
from skinmnist.datasets.synthetic.lesions import (
    ATTRIBUTES,
    CLASS_SHIFTS,
    PLACES,
    make_lesions,
    sample_attributes,
)
from skinmnist.datasets.synthetic.rendering import render, sample_structures, sample_views
from skinmnist.datasets.table import to_images
from skinmnist.errors import InputError

#: Of `make_lesions(120, size=8)` before there were patients: labels and lesions, pixels, and their sum.
LESIONS = "1b8d90bb7338b4ded5906a8d6811fb66d5b036370a22957c4df5cbfb0bfea43b"
PIXELS = [
    [187, 165, 187, 185, 163, 180, 198, 167, 190, 202, 173, 199],
    [252, 153, 158, 253, 157, 159, 255, 158, 155, 255, 157, 155],
    [204, 182, 194, 204, 186, 206, 208, 174, 196, 201, 173, 181],
]
PIXEL_SUM = 3724928


def linear_score(table):
    """Balanced accuracy of a linear model on components, held out by lesion."""
    model = make_pipeline(PCA(20, random_state=0), LinearDiscriminantAnalysis())
    predicted = cross_val_predict(
        model, table.pixels.astype(float), table.labels, groups=table.lesion_ids, cv=GroupKFold(3)
    )
    return balanced_accuracy_score(table.labels, predicted)


def test_same_arguments_same_bytes():
    table = make_lesions(200, size=8, random_state=4)
    assert table.digest() == make_lesions(200, size=8, random_state=4).digest()
    assert table.digest() != make_lesions(200, size=8, random_state=5).digest()


def test_patients_change_no_picture():
    """Lesions and a few pixels as they were before patients were sampled; rounding may differ by machine."""
    table = make_lesions(120, size=8)
    text = "\n".join([*map(str, table.labels.tolist()), *table.lesion_ids.tolist()])
    assert hashlib.sha256(text.encode()).hexdigest() == LESIONS
    np.testing.assert_allclose(table.pixels[[0, 57, 119], :12].astype(int), PIXELS, atol=1)
    assert abs(table.pixels.sum(dtype=int) - PIXEL_SUM) <= 50


def test_patients_are_those_of_the_lesion_and_depend_on_the_class():
    table = make_lesions(6000, size=4)
    clinical = table.clinical
    assert list(clinical) == list(facts.CLINICAL_COLUMNS)
    _, first, lesion_of = np.unique(table.lesion_ids, return_index=True, return_inverse=True)
    for values in clinical.values():
        np.testing.assert_array_equal(values[first][lesion_of], values)
    age, place = clinical["age"], clinical["localization"]
    of_class = {name: table.labels == code for code, name in enumerate(facts.CLASS_NAMES)}
    mean_age = {name: np.nanmean(age[rows]) for name, rows in of_class.items()}
    assert mean_age["nv"] + 10 < min(mean_age[name] for name in ("akiec", "bcc", "bkl", "mel"))
    assert np.mean(place[of_class["df"]] == "lower extremity") > 0.5
    assert np.mean(place[of_class["bkl"]] == "face") > 5 * np.mean(place[of_class["nv"]] == "face")
    unknown = [np.isnan(age).mean(), *((clinical[name] == "").mean() for name in ("sex", "localization"))]
    assert all(0.002 < share < 0.04 for share in unknown)
    assert set(age[~np.isnan(age)] % 5) == {0}


def test_patients_are_alike_where_classes_are():
    table = make_lesions(7000, [1] * 7, overlap=1, size=4)
    for name, values in table.clinical.items():
        known = values != "" if values.dtype.kind == "U" else np.isfinite(values)
        common = values[known] > 50 if name == "age" else values[known] == np.unique(values[known])[-1]
        shares = [common[table.labels[known] == code].mean() for code in range(7)]
        assert np.ptp(shares) < 0.12


def test_shares_of_places_are_of_a_hundred():
    assert {len(shares) for shares in PLACES.values()} == {7}
    np.testing.assert_allclose(np.sum([*PLACES.values()], axis=0), 100, atol=4)


def test_what_the_table_says_of_itself():
    table = make_lesions(100, size=8)
    assert table.synthetic
    assert table.name == "synthetic"
    assert table.class_names == facts.CLASS_NAMES
    assert table.origin == "make_lesions(100, size=8, random_state=0)"
    assert len(np.unique(table.image_ids)) == 100
    assert all(len(name) == 11 and name.startswith("SYN_") for name in table.lesion_ids)


def test_origin_makes_the_table_again():
    table = make_lesions(
        50, dict.fromkeys(facts.CLASS_NAMES, 1), pictures_per_lesion=1.5, overlap=0.2, size=(6, 9)
    )
    assert eval(table.origin).digest() == table.digest()
    assert make_lesions(50, np.ones(7)).origin == (
        "make_lesions(50, class_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], random_state=0)"
    )


def test_priors_of_ham10000():
    table = make_lesions(10_015, size=4)
    np.testing.assert_array_equal(table.class_counts, facts.ROWS_PER_CLASS)
    np.testing.assert_array_equal(table.lesion_counts, facts.LESIONS_PER_CLASS)


@pytest.mark.parametrize("n_samples", [35, 36, 200, 999])
def test_every_class_has_five_lesions(n_samples):
    table = make_lesions(n_samples, size=4)
    assert len(table) == n_samples
    assert table.lesion_counts.min() >= 5


def test_class_weights_are_shares():
    table = make_lesions(700, [1, 2, 3, 4, 5, 6, 7], size=4)
    np.testing.assert_array_equal(table.class_counts, 25 * np.arange(1, 8))
    named = dict(zip(reversed(facts.CLASS_NAMES), [7, 6, 5, 4, 3, 2, 1], strict=True))
    assert make_lesions(700, named, size=4).digest() == table.digest()


def test_a_lesion_has_one_class_and_one_to_several_pictures():
    table = make_lesions(5000, size=4)
    lesions, first, pictures = np.unique(table.lesion_ids, return_index=True, return_counts=True)
    of_lesion = dict(zip(lesions, table.labels[first], strict=True))
    assert [of_lesion[lesion] for lesion in table.lesion_ids] == table.labels.tolist()
    # HAM10000 has 73.8 % lesions of one picture, 19.0 % of two and 7.1 % of more.
    shares = [np.mean(pictures == 1), np.mean(pictures == 2), np.mean(pictures > 2)]
    np.testing.assert_allclose(shares, [0.738, 0.190, 0.071], atol=0.03)


def test_rows_are_in_random_order():
    table = make_lesions(1000, size=4)
    neighbours = np.mean(table.lesion_ids[1:] == table.lesion_ids[:-1])
    assert neighbours < 0.01
    assert abs(np.corrcoef(np.arange(1000), table.labels == facts.CLASS_NAMES.index("nv"))[0, 1]) < 0.1


@pytest.mark.parametrize("mean", [1, 2.5])
def test_pictures_per_lesion(mean):
    table = make_lesions(2000, pictures_per_lesion=mean, size=4)
    assert len(table) / table.n_lesions == pytest.approx(mean, rel=0.02)


def test_pictures_of_a_lesion_are_alike_but_not_equal():
    table = make_lesions(1500, pictures_per_lesion=2, size=16)
    pixels = table.pixels.astype(float)
    order = np.lexsort((table.lesion_ids,))
    one, other = order[:-1], order[1:]
    same = table.lesion_ids[one] == table.lesion_ids[other]
    nevi = (table.labels[one] == 4) & (table.labels[other] == 4)
    distance = np.sqrt(np.mean((pixels[one] - pixels[other]) ** 2, axis=1))
    assert np.median(distance[same & nevi]) < 0.85 * np.median(distance[~same & nevi])
    assert distance[same].min() > 3


def test_overlap_makes_it_harder():
    easy, tuned, hopeless = (
        linear_score(make_lesions(700, [1] * 7, overlap=overlap, size=12)) for overlap in (0, 0.5, 1)
    )
    assert easy > tuned + 0.1
    assert tuned > hopeless + 0.1
    assert hopeless == pytest.approx(1 / 7, abs=0.05)


def test_skewed_weights_make_rare_classes_rarer():
    rare = make_lesions(700, [1, 1, 1, 1, 94, 1, 1], size=4).class_counts
    np.testing.assert_array_equal(rare, [7, 7, 7, 7, 658, 7, 7])


@pytest.mark.parametrize(
    ("size", "shape"), [(8, (8, 8)), (64, (64, 64)), ((10, 24), (10, 24)), ([9, 5], (9, 5))]
)
def test_sizes(size, shape):
    table = make_lesions(40, size=size)
    assert table.shape == (*shape, 3)
    assert table.pixels.shape == (40, shape[0] * shape[1] * 3)


def test_size_changes_resolution_and_nothing_else():
    large, small = make_lesions(60, size=32), make_lesions(60, size=8)
    np.testing.assert_array_equal(large.lesion_ids, small.lesion_ids)
    shrunk = to_images(large.pixels, large.shape).reshape(60, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    difference = np.abs(shrunk - to_images(small.pixels, small.shape))
    assert np.median(difference) < 4


def test_wider_pictures_show_more_of_the_same():
    square, wide = make_lesions(60, size=16), make_lesions(60, size=(16, 24))
    middle = to_images(wide.pixels, wide.shape)[:, :, 4:20].astype(float)
    difference = np.abs(middle - to_images(square.pixels, square.shape))
    assert np.median(difference) < 5  # the noise of the pixels differs


def test_lesions_are_darker_than_the_skin_around_them():
    pictures = to_images(make_lesions(300, [1, 1, 1, 1, 94, 1, 1], size=20).pixels, (20, 20, 3)).astype(float)
    centre, rim = pictures[:, 8:12, 8:12].mean(axis=(1, 2)), pictures[:, 0].mean(axis=1)
    assert np.mean(centre.mean(axis=1) < rim.mean(axis=1)) > 0.85
    assert rim.mean(axis=0)[0] > rim.mean(axis=0)[1:].max()  # skin is red more than anything else


@pytest.mark.parametrize("chunk_pixels", [1, 7 * 36, 10**9])
def test_chunks_leave_no_trace(chunk_pixels):
    attributes = sample_attributes(np.arange(21) % 7, 1.0, np.random.default_rng(0))
    lesions = sample_structures(attributes, np.random.default_rng(1))
    views = sample_views(attributes, np.repeat(np.arange(21), 2), np.random.default_rng(2))
    whole = render(lesions, views, 6, 6, np.random.default_rng(3))
    parts = render(lesions, views, 6, 6, np.random.default_rng(3), chunk_pixels=chunk_pixels)
    np.testing.assert_array_equal(np.concatenate(list(parts)), np.concatenate(list(whole)))


def test_class_shifts_name_every_attribute_and_shift_by_spreads():
    assert list(CLASS_SHIFTS) == list(ATTRIBUTES)
    assert {len(shifts) for shifts in CLASS_SHIFTS.values()} == {len(facts.CLASS_NAMES)}
    labels = np.repeat(np.arange(7), 4000)
    sampled = sample_attributes(labels, 2.0, np.random.default_rng(0))
    for name, attribute in ATTRIBUTES.items():
        if attribute.kind == "amount":
            assert sampled[name].min() == 0
            continue
        values = np.log(sampled[name]) if attribute.kind == "log" else sampled[name]
        shifts = (values.reshape(7, -1).mean(axis=1) - attribute.mean) / attribute.spread
        np.testing.assert_allclose(shifts, 2 * np.array(CLASS_SHIFTS[name]), atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n_samples": 34}, "n_samples received 34; expected a whole number of at least 35"),
        ({"n_samples": 99.5}, "n_samples received 99.5"),
        ({"class_weights": [1, 2]}, "class_weights received .* expected 7 positive numbers"),
        ({"class_weights": [1, 1, 1, 1, 1, 1, 0]}, "expected 7 positive numbers"),
        ({"class_weights": [1, 1, 1, 1, 1, 1, float("inf")]}, "expected 7 positive numbers"),
        ({"class_weights": "balanced"}, "class_weights received 'balanced'"),
        ({"class_weights": {"nv": 1}}, r"class_weights received the names \['nv'\]"),
        ({"pictures_per_lesion": 0.9}, "pictures_per_lesion received 0.9; expected a mean of 1 or more"),
        ({"pictures_per_lesion": "two"}, "pictures_per_lesion received 'two'"),
        ({"overlap": -0.1}, "overlap received -0.1; expected a number from 0"),
        ({"overlap": float("nan")}, "overlap received nan"),
        ({"size": 3}, "size received 3; expected one whole number of pixels"),
        ({"size": (28, 28, 3)}, r"size received \(28, 28, 3\)"),
        ({"size": 28.0}, "size received 28.0"),
        ({"random_state": -1}, "random_state received -1"),
        ({"random_state": None}, "random_state received None"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        make_lesions(**{"n_samples": 50, "size": 4} | arguments)
    assert "\n" not in str(error.value)
