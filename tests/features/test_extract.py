"""What the features mean, and which changes of an image leave them as they are."""

import ast
from pathlib import Path

import numpy as np
import pytest

from skinmnist import make_lesions
from skinmnist.errors import InputError
from skinmnist.features import extract
from skinmnist.features.descriptors import local_patterns, otsu, pieces
from skinmnist.features.extract import extract_features, feature_names

SHAPES = [(8, 8, 1), (8, 8, 3), (9, 14, 3), (28, 28, 1), (28, 28, 3), (45, 60, 3), (64, 64, 3), (128, 128, 3)]


def named(pictures):
    """Features by name of pictures of shape (n, height, width, channels)."""
    shape = pictures.shape[1:]
    rows = np.ascontiguousarray(pictures).reshape(len(pictures), -1)
    return dict(zip(feature_names(shape), extract_features(rows, shape).T, strict=True))


def discs(side, radii, skin=(220, 170, 150), lesion=(120, 70, 50)):
    """Round lesions in the middle of skin."""
    place = np.arange(side) - (side - 1) / 2
    distance = np.hypot(place[:, None], place)
    inside = distance[None] <= np.asarray(radii)[:, None, None]
    return np.where(inside[..., None], np.uint8(lesion), np.uint8(skin))


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def pictures(request):
    height, width, channels = request.param
    drawn = make_lesions(200, size=max(height, width), random_state=2)
    square = drawn.pixels[:30].reshape(30, *drawn.shape)
    return square[:, :height, :width, :channels]


def views(pictures):
    upright = [pictures[:, :: 1 - 2 * up, :: 1 - 2 * left] for up in (0, 1) for left in (0, 1)]
    if pictures.shape[1] != pictures.shape[2]:
        return upright
    return upright + [view.transpose(0, 2, 1, 3) for view in upright]


def test_every_view_has_the_same_features(pictures):
    first, *others = (np.stack(list(named(view).values())) for view in views(pictures))
    assert len(others) == (7 if pictures.shape[1] == pictures.shape[2] else 3)
    scale = first.std(axis=1, keepdims=True) + 1e-3
    for other in others:
        assert (np.abs(other - first) / scale).max() < 0.02


def test_they_are_finite_for_every_size_and_for_flat_pictures(pictures):
    flat = np.zeros_like(pictures[:3])
    flat[1:] = np.array([7, 255], np.uint8)[:, None, None, None]
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        found = named(np.concatenate([pictures, flat]))
    values = np.stack(list(found.values()))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert len(set(found)) == len(feature_names(pictures.shape[1:]))
    for name, number in found.items():
        if "asymmetry" in name or "gradient" in name:
            np.testing.assert_allclose(number[-3:], 0, atol=1e-6)


def test_chunks_do_not_show(pictures, monkeypatch):
    shape = pictures.shape[1:]
    rows = np.ascontiguousarray(pictures).reshape(len(pictures), -1)
    whole = extract_features(rows, shape)
    monkeypatch.setattr(extract, "CHUNK_PIXELS", 7 * shape[0] * shape[1])
    np.testing.assert_allclose(extract_features(rows, shape), whole, rtol=1e-4, atol=1e-5)
    assert extract_features(rows[:0], shape).shape == (0, whole.shape[1])


def test_golden_values_by_plain_loops():
    drawn = make_lesions(200, size=16, random_state=3)
    picture = drawn.pixels[5].reshape(16, 16, 3)
    found = {name: float(value[0]) for name, value in named(picture[None]).items()}
    red, green, blue = (picture[..., i].astype(float) / 255 for i in range(3))
    light = (red + green + blue) / 3

    assert found["red, quantile 0.5"] == pytest.approx(sorted(red.ravel())[round(0.5 * 255)])
    assert found["red-blue, quantile 0.95"] == pytest.approx(sorted((red - blue).ravel())[round(0.95 * 255)])
    assert found["green, spread"] == pytest.approx(green.std(), rel=1e-4)
    correlation = np.corrcoef(red.ravel(), blue.ravel())[0, 1]
    assert found["red with blue, correlation"] == pytest.approx(correlation, rel=1e-3)
    sides = sorted([np.abs(light - light[::-1]).mean(), np.abs(light - light[:, ::-1]).mean()])
    assert found["light, asymmetry about sides, smaller"] == pytest.approx(sides[0], rel=1e-4)
    assert found["light, asymmetry about sides, larger"] == pytest.approx(sides[1], rel=1e-4)
    seconds = sorted(np.abs(np.diff(light, 2, axis=axis)).mean() for axis in (0, 1))
    assert found["light, second difference, smaller"] == pytest.approx(seconds[0], rel=1e-4)

    border = [(y, x) for y in range(16) for x in range(16) if {y, x} & {0, 15}]
    middle = np.median([light[place] for place in border])
    skin = [red[place] for place in border if light[place] >= middle - 1e-7]
    assert found["red, skin"] == pytest.approx(np.mean(skin), rel=1e-4)

    threshold, _ = otsu(light.reshape(1, -1).astype(np.float32))
    inside = light <= threshold[0] + 1e-7
    assert found["lesion, area"] == pytest.approx(inside.mean())
    in_lesion = found["red, lesion against skin"]
    assert in_lesion == pytest.approx(red[inside].mean() - np.mean(skin), rel=1e-3)


def test_otsu_finds_the_threshold_with_the_largest_variance_between():
    rng = np.random.default_rng(0)
    values = np.round(np.concatenate([rng.normal(0.3, 0.05, 70), rng.normal(0.7, 0.1, 130)]), 2)
    candidates = np.unique(values)[:-1]

    def between(t):
        dark, light = values[values <= t], values[values > t]
        return len(dark) * len(light) * (dark.mean() - light.mean()) ** 2

    best = max(candidates, key=between)
    threshold, parted = otsu(values[None].astype(np.float32))
    assert threshold[0] == pytest.approx(best)
    assert parted[0] == pytest.approx(between(best) / 200 / ((values - values.mean()) ** 2).sum(), rel=1e-4)


def test_local_patterns_by_hand():
    plane = np.array([[9, 9, 9], [1, 5, 1], [1, 1, 1]], np.float32)
    assert local_patterns(plane[None], 1).ravel() == [3]
    plane[2, 1] = 9
    assert local_patterns(plane[None], 1).ravel() == [9]


def test_pieces_and_holes_are_counted():
    ring = np.zeros((9, 9), bool)
    ring[2:7, 2:7] = True
    two = ring.copy()
    two[0, 0] = True
    ring[4, 4] = False
    counts = np.expm1(pieces(np.stack([ring, two])))
    np.testing.assert_allclose(counts, [0, 2], atol=1e-9)


def test_a_disc_is_symmetric_and_its_area_is_found():
    radii = [5, 8, 11]
    found = named(discs(28, radii))
    for name, number in found.items():
        if "asymmetry" in name or name in ("lesion, elongation", "lesion, distance from the centre"):
            np.testing.assert_allclose(number, 0, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(found["lesion, area"], np.pi * np.square(radii) / 28**2, rtol=0.05)
    np.testing.assert_allclose(found["red, lesion against skin"], -100 / 255, rtol=1e-4)
    np.testing.assert_allclose(found["lesion, parted from skin"], 1, rtol=1e-4)
    shares = [values for name, values in found.items() if name.startswith("share of shade")]
    np.testing.assert_allclose(sum(shares), 1, rtol=1e-5)


def test_a_lesion_off_the_centre_is_farther_and_less_symmetric():
    disc = discs(28, [6])
    moved = np.roll(disc, (4, 2), axis=(1, 2))
    centred, off = named(disc), named(moved)
    assert off["lesion, distance from the centre"][0] == pytest.approx(np.hypot(4, 2) / 28, rel=1e-4)
    assert off["light, asymmetry under half a turn"] > centred["light, asymmetry under half a turn"] + 0.05
    assert off["lesion, area"] == centred["lesion, area"]


def test_brighter_pictures_have_brighter_quantiles_and_keep_their_density():
    dark = discs(28, [7], skin=(110, 85, 75), lesion=(60, 35, 25))
    bright = 2 * dark
    before, after = named(dark), named(bright)
    for level in (0.05, 0.5, 0.95):
        assert after[f"light, quantile {level}"] > before[f"light, quantile {level}"]
    for name in ("share of dark brown", "share of skin", "red-blue in shade 2"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-4)
    assert abs(after["red against skin, quantile 0.05"] - before["red against skin, quantile 0.05"])[0] < 0.05


@pytest.mark.parametrize(
    ("rows", "shape", "message"),
    [
        (np.zeros((2, 48), np.uint8), (4, 4, 3), "at least 8 x 8"),
        (np.zeros((2, 128), np.uint8), (8, 8, 2), "1 or 3 channels"),
        (np.zeros((2, 191), np.uint8), (8, 8, 3), r"rows of shape \(2, 191\)"),
        (np.zeros((2, 192)), (8, 8, 3), "type float64"),
    ],
)
def test_bad_input_is_named(rows, shape, message):
    with pytest.raises(InputError, match=message):
        extract_features(rows, shape)


def test_numpy_is_all_they_need():
    folder = Path(extract.__file__).parent
    files = set(folder.glob("*.py")) - {folder / "transformer.py"}
    assert len(files) >= 4
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert all(alias.name in ("numpy", "numpy.typing", "itertools") for alias in node.names), path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in ("scipy", "sklearn", "skimage"), path
