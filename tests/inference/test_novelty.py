import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skinmnist import load_hmnist, make_lesions
from skinmnist.datasets.images.pictures import picture_row
from skinmnist.errors import InputError
from skinmnist.inference.novelty import fit_novelty, novelty_score

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def table():
    return make_lesions(1500, size=8, random_state=0)


@pytest.fixture(scope="module")
def halves(table):
    """Rows of half of the lesions, of the other half, and the lesions of the first."""
    lesions = np.unique(table.lesion_ids, return_inverse=True)[1]
    first = lesions % 2 == 0
    return table.pixels[first], table.pixels[~first], lesions[first]


@pytest.fixture(scope="module")
def arrays(halves):
    return fit_novelty(halves[0], SHAPE, halves[2])


def strange():
    """Rows of flat colours, gradients, stripes, checks and noise, 20 of each."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:8, 0:8]
    rows = []
    for _ in range(20):
        first, second = rng.integers(0, 256, (2, 3))
        shares = [np.zeros((8, 8)), x / 7, x // 2 % 2, (x + y) % 2]
        rows += [share[:, :, None] * first + (1 - share[:, :, None]) * second for share in shares]
        rows.append(rng.integers(0, 256, SHAPE))
    return np.array(rows).astype(np.uint8).reshape(len(rows), -1)


def test_new_lesions_are_familiar(halves, arrays):
    assert np.mean(novelty_score(halves[1], SHAPE, arrays) > 1) <= 0.1


def test_what_is_no_lesion_is_not(arrays):
    assert np.mean(novelty_score(strange(), SHAPE, arrays) > 1) >= 0.9


def test_real_lesions_and_strange_pictures(real_tables, monkeypatch):
    """One fold of what `experiments/benchmarks/novelty.py` measures."""
    benchmarks = Path(__file__).parents[2] / "experiments" / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    from strange_pictures import strange_pictures

    table = load_hmnist(real_tables / "hmnist_8_8_RGB.csv")
    lesions = np.unique(table.lesion_ids, return_inverse=True)[1]
    held_out = lesions % 5 == 0
    arrays = fit_novelty(table.pixels[~held_out], table.shape, lesions[~held_out])
    strange = np.stack([picture_row(picture, table.shape) for _, picture in strange_pictures(100, 1)])
    assert np.mean(novelty_score(table.pixels[held_out], table.shape, arrays) > 1) <= 0.1
    assert np.mean(novelty_score(strange, table.shape, arrays) > 1) >= 0.9


def test_a_flat_colour_of_skin_is_not(halves, arrays):
    means = halves[0].reshape(-1, 64, 3).mean(axis=1).astype(np.uint8)[:50]
    assert (novelty_score(np.tile(means, (1, 64)), SHAPE, arrays) > 1).all()


def test_turned_pictures_are_as_familiar(halves, arrays):
    pictures = halves[1][:40].reshape(-1, *SHAPE)
    turned = np.rot90(pictures, axes=(1, 2)).reshape(40, -1)
    found = novelty_score(turned, SHAPE, arrays)
    assert np.allclose(found, novelty_score(halves[1][:40], SHAPE, arrays), rtol=1e-4)


def test_alone_or_among_others(halves, arrays):
    together = novelty_score(halves[1][:5], SHAPE, arrays)
    alone = [novelty_score(row[None], SHAPE, arrays)[0] for row in halves[1][:5]]
    assert np.allclose(alone, together, rtol=1e-4)
    assert novelty_score(halves[1][:0], SHAPE, arrays).shape == (0,)


def test_the_distance_is_hotellings_and_the_rest(halves):
    """Computed with a pseudo-inverse instead of axes."""
    from skinmnist.features.extract import extract_features

    rows = halves[0]
    fitted = fit_novelty(rows, SHAPE)
    numbers = extract_features(rows, SHAPE).astype(np.float64)
    scaled = np.clip((numbers - fitted["mean"]) / fitted["scale"], -8, 8)
    onto = fitted["axes"].astype(np.float64) @ fitted["axes"].T
    inverse = np.linalg.pinv(onto @ (scaled.T @ scaled / len(scaled)) @ onto, rcond=1e-9)
    along = np.einsum("na,ab,nb->n", scaled, inverse, scaled) / fitted["axes"].shape[1]
    off = ((scaled - scaled @ onto) ** 2).sum(axis=1)
    expected = (along * off / off.mean()) ** 0.25 / fitted["threshold"]
    assert np.allclose(novelty_score(rows, SHAPE, fitted), expected, rtol=1e-2)


@pytest.mark.parametrize("shape", [(4, 4, 1), (5, 9, 3), (8, 8, 1), (28, 28, 3), (1, 1, 3)])
def test_any_shape(shape):
    rng = np.random.default_rng(0)
    rows = rng.integers(100, 140, (60, np.prod(shape))).astype(np.uint8)
    arrays = fit_novelty(rows, shape)
    assert sum(values.nbytes for values in arrays.values()) < 1_000_000
    assert {values.dtype for values in arrays.values()} == {np.dtype(np.float32)}
    assert np.median(novelty_score(rows, shape, arrays)) < 1
    assert novelty_score(np.full((1, rows.shape[1]), 255, np.uint8), shape, arrays)[0] > 1


def test_the_same_table_gives_the_same_arrays(halves, arrays):
    again = fit_novelty(halves[0], SHAPE, halves[2])
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)


def test_pictures_that_are_all_the_same():
    rows = np.full((40, 192), 120, dtype=np.uint8)
    arrays = fit_novelty(rows, SHAPE)
    assert np.allclose(novelty_score(rows, SHAPE, arrays), 1, rtol=1e-4)
    assert (novelty_score(strange(), SHAPE, arrays) > 1).mean() > 0.9


def test_too_few_pictures():
    with pytest.raises(InputError, match="received 19 training pictures to fit"):
        fit_novelty(np.zeros((19, 192), dtype=np.uint8), SHAPE)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None},
        {"mean": np.zeros(3, np.float32)},
        {"axes": np.zeros((513, 0), np.float32), "variances": np.zeros(0, np.float32)},
        {"axes": np.zeros(513, np.float32)},
        {"scale": np.zeros(513, np.float32)},
        {"threshold": np.array([np.nan], np.float32)},
        {"threshold": np.array([-1], np.float32)},
        {"rest": np.array(["1"])},
        {"variances": np.array([[1]], np.float32)},
    ],
    ids=lambda change: " ".join(change),
)
def test_wild_arrays_are_refused(change, arrays):
    wild = {name: values for name, values in {**arrays, **change}.items() if values is not None}
    with pytest.raises(InputError, match="train the model again"):
        novelty_score(np.zeros((1, 192), np.uint8), SHAPE, wild)


def test_arrays_of_another_shape_are_refused(arrays):
    with pytest.raises(InputError, match="train the model again"):
        novelty_score(np.zeros((1, 64), np.uint8), (8, 8, 1), arrays)
    with pytest.raises(InputError, match="received rows of shape"):
        novelty_score(np.zeros((1, 64), np.uint8), SHAPE, arrays)


def test_nothing_that_trains_is_imported():
    code = (
        "import sys, skinmnist.inference.novelty, skinmnist.datasets.images.pictures; "
        "sys.exit(any(name.split('.')[0] in {'sklearn', 'keras', 'tensorflow', 'scipy', 'pandas'} "
        "for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
