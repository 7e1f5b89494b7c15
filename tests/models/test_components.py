import numpy as np
import pytest

from skinmnist.models.components import Components


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 60))
    return np.clip(rng.normal(size=(200, 5)) @ mixing * 10 + 128, 0, 255).astype(np.uint8)


def test_components_are_centred_projections_by_an_independent_decomposition(rows):
    found = Components(5).fit(rows).transform(rows)
    centred = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:5].T
    expected /= np.sqrt(np.mean(expected**2))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-3)


def test_distances_are_kept_up_to_one_factor(rows):
    model = Components(60).fit(rows)
    found = model.transform(rows)
    before = np.linalg.norm(rows[:20, None].astype(float) - rows[None, 20:40], axis=2)
    after = np.linalg.norm(found[:20, None] - found[None, 20:40], axis=2)
    np.testing.assert_allclose(after * model.scale_, before, rtol=1e-3)


def test_fewer_rows_or_columns_make_fewer_components(rows):
    assert Components(64).fit(rows[:10]).transform(rows).shape == (200, 10)
    assert Components(64).fit(rows[:, :7]).transform(rows[:, :7]).shape == (200, 7)


# Nothing varies, so that the explained share of the variance is 0 / 0 inside PCA.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_flat_pictures_do_not_divide_by_nothing():
    found = Components(3).fit_transform(np.full((10, 12), 7, np.uint8))
    assert np.isfinite(found).all()


def test_smote_before_and_after_lies_on_the_same_lines(rows):
    """The projection is affine: a row between two rows stays between them, at the same place."""
    model = Components(5).fit(rows)
    first, second = rows[0].astype(np.float32), rows[1].astype(np.float32)
    between = model.transform((first + 0.3 * (second - first))[None])
    ends = model.transform(np.stack([first, second]))
    np.testing.assert_allclose(between[0], ends[0] + 0.3 * (ends[1] - ends[0]), atol=1e-4)
