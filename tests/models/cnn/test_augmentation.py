"""The random changes of pictures: what may happen to a pixel, and what may not."""

import numpy as np
import pytest

from skinmnist.models.cnn.augmentation import change_colours, move_pixels, symmetric_view
from skinmnist.models.cnn.backend import tf


@pytest.mark.parametrize("side", [(6, 6), (6, 4)])
def test_views_are_all_different_and_undone_by_a_view(side):
    pictures = np.arange(2 * side[0] * side[1] * 3).reshape(2, *side, 3)
    views = range(8 if side[0] == side[1] else 4)
    seen = [symmetric_view(tf.constant(pictures), view).numpy() for view in views]
    assert len({view.tobytes() for view in seen}) == len(seen)
    np.testing.assert_array_equal(seen[0], pictures)
    for view in seen:
        undone = [symmetric_view(tf.constant(view), other).numpy() for other in views]
        assert any(np.array_equal(candidate, pictures) for candidate in undone)


def test_moving_without_shift_gives_symmetric_views_only():
    pictures = np.random.default_rng(0).integers(0, 256, (1, 5, 5, 3), dtype=np.uint8)
    allowed = {symmetric_view(tf.constant(pictures), view).numpy()[0].tobytes() for view in range(8)}
    moved = move_pixels(tf.constant(np.repeat(pictures, 200, axis=0)), tf.constant([1, 2]), 0).numpy()
    assert moved.dtype == np.uint8
    assert {picture.tobytes() for picture in moved} == allowed


def test_shifts_are_filled_by_reflection():
    row = np.arange(10, dtype=np.uint8)
    pictures = np.repeat(row.reshape(1, 1, 10, 1), 300, axis=0)
    moved = move_pixels(tf.constant(pictures), tf.constant([3, 4]), 2).numpy()[:, 0, :, 0]
    padded = np.pad(row, 2, mode="reflect")
    expected = {padded[s : s + 10].tobytes() for s in range(5)} | {
        padded[::-1][s : s + 10].tobytes() for s in range(5)
    }
    assert {line.tobytes() for line in moved} == expected


def test_oblong_pictures_keep_their_shape():
    pictures = np.random.default_rng(0).integers(0, 256, (50, 4, 6, 3), dtype=np.uint8)
    moved = move_pixels(tf.constant(pictures), tf.constant([0, 0]), 0).numpy()
    assert moved.shape == pictures.shape
    np.testing.assert_array_equal(np.sort(moved.reshape(50, -1)), np.sort(pictures.reshape(50, -1)))


def test_colour_changes_have_the_spread_asked_for():
    changed = change_colours(tf.zeros((4000, 1, 1, 3)), tf.constant([5, 6]), 0.2).numpy()
    assert changed.std() == pytest.approx(0.2, rel=0.05)
    assert changed.mean() == pytest.approx(0.0, abs=0.01)
    assert abs(np.corrcoef(changed[:, 0, 0, 0], changed[:, 0, 0, 1])[0, 1]) < 0.05


def test_a_gain_and_an_offset_hold_for_all_of_a_channel_of_a_picture():
    pictures = np.random.default_rng(0).normal(size=(4, 5, 7, 3)).astype(np.float32)
    seed = tf.constant([5, 6])
    offset = change_colours(tf.zeros((4, 1, 1, 3)), seed, 0.2).numpy()
    gain = change_colours(tf.ones((4, 1, 1, 3)), seed, 0.2).numpy() - offset
    changed = change_colours(tf.constant(pictures), seed, 0.2).numpy()
    np.testing.assert_allclose(changed, pictures * gain + offset, atol=1e-6)


def test_draws_depend_on_the_seed_and_nothing_else():
    pictures = tf.constant(np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8))
    first, again = (move_pixels(pictures, tf.constant([1, 2]), 2).numpy() for _ in range(2))
    other = move_pixels(pictures, tf.constant([1, 3]), 2).numpy()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
