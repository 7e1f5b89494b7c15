"""The optimiser: against Keras' own where there is one, and by its definition where there is none."""

import numpy as np
import pytest

from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.optimizer import MuonAdam, orthogonalise


@pytest.mark.parametrize("shape", [(2, 30, 8), (2, 8, 30), (1, 16, 16)])
def test_orthogonalising_keeps_the_singular_vectors_and_evens_out_the_values(shape):
    matrices = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = orthogonalise([tf.constant(matrices)])[0].numpy()
    left, values, right = np.linalg.svd(matrices, full_matrices=False)
    aligned = np.einsum("mik,mij,mkj->mk", left, result, right)
    assert values.max() / values.min() > 1.5
    assert 0.6 < aligned[values > 0.1 * values.max()].min() <= aligned.max() < 1.3
    np.testing.assert_allclose((left * aligned[:, None, :]) @ right, result, atol=1e-3)


def test_side_by_side_every_matrix_becomes_what_it_becomes_alone():
    rng = np.random.default_rng(0)
    shapes = [(2, 30, 8), (1, 8, 30), (3, 16, 16), (1, 40, 16), (1, 5, 5)]
    stacks = [tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
    for stack, found in zip(stacks, orthogonalise(stacks), strict=True):
        alone = [orthogonalise([matrix[None]])[0][0] for matrix in stack]
        np.testing.assert_allclose(found, np.stack(alone), atol=5e-5)  # Rounding differs by processor.


def make_optimizer(variables, **changes):
    rates = {"learning_rate": 0.01, "weight_decay": 0.5, "kernel_rate": 0.1, "kernel_decay": 0.2, **changes}
    return MuonAdam(variables, **rates)


def test_all_but_kernels_move_as_under_adamw_of_keras():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 4)).astype(np.float32)
    ours, theirs = keras.Variable(start), keras.Variable(start)
    optimizer = make_optimizer([ours])
    adamw = keras.optimizers.AdamW(learning_rate=0.01, weight_decay=0.5, beta_2=0.99, epsilon=1e-7)
    for step in range(5):
        gradient = tf.constant(rng.normal(size=(3, 4)).astype(np.float32))
        optimizer.update([gradient], tf.constant(1.0), tf.constant(step))
        adamw.apply([gradient], [theirs])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)
    assert not np.allclose(ours.numpy(), start, atol=1e-2)


def test_without_a_rate_of_their_own_kernels_are_left_to_adam():
    start = np.zeros((1, 1, 3, 4), np.float32)
    kernel, matrix = keras.Variable(start), keras.Variable(start.reshape(3, 4))
    gradient = np.random.default_rng(0).normal(size=start.shape).astype(np.float32)
    optimizer = make_optimizer([kernel, matrix], kernel_rate=None)
    optimizer.update(
        [tf.constant(gradient), tf.constant(gradient.reshape(3, 4))], tf.constant(1.0), tf.constant(0)
    )
    np.testing.assert_array_equal(kernel.numpy().ravel(), matrix.numpy().ravel())


def test_kernels_move_by_an_orthogonal_step_of_the_length_of_the_rate():
    kernel = keras.Variable(np.zeros((3, 3, 4, 8), np.float32))
    gradient = np.random.default_rng(0).normal(size=kernel.shape).astype(np.float32)
    make_optimizer([kernel], kernel_decay=0.0).update(
        [tf.constant(gradient)], tf.constant(0.5), tf.constant(0)
    )
    moved = kernel.numpy().reshape(36, 8)
    values = np.linalg.svd(moved, compute_uv=False)
    assert 0.05 * 0.6 < values.min() <= values.max() < 0.05 * 1.3
    assert (moved * gradient.reshape(36, 8)).sum() < 0


def test_kernels_decay_in_proportion_to_the_rate():
    start = np.random.default_rng(0).normal(size=(1, 1, 5, 5)).astype(np.float32)
    decaying, free = keras.Variable(start), keras.Variable(start)
    gradient = [tf.ones_like(start)]
    make_optimizer([decaying]).update(gradient, tf.constant(0.5), tf.constant(0))
    make_optimizer([free], kernel_decay=0.0).update(gradient, tf.constant(0.5), tf.constant(0))
    np.testing.assert_allclose(free.numpy() - decaying.numpy(), 0.5 * 0.1 * 0.2 * start, atol=1e-6)


def test_kernels_of_one_shape_are_updated_each_by_its_own_gradient():
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(2, 3, 3, 2, 2)).astype(np.float32)
    gradients = [tf.constant(g) for g in rng.normal(size=(2, 3, 3, 2, 2)).astype(np.float32)]
    together = [keras.Variable(start) for start in starts]
    make_optimizer(together).update(gradients, tf.constant(1.0), tf.constant(0))
    for start, gradient, expected in zip(starts, gradients, together, strict=True):
        alone = keras.Variable(start)
        make_optimizer([alone]).update([gradient], tf.constant(1.0), tf.constant(0))
        np.testing.assert_allclose(alone.numpy(), expected.numpy(), atol=1e-5)


def moved_in_a_basis(basis, steps=3):
    """Return a kernel moved in a basis, and one moved as it acts on inputs in the basis."""
    rng = np.random.default_rng(0)
    inner = rng.normal(size=(3, 3, 4, 8)).astype(np.float32)
    kernel, plain = keras.Variable(np.einsum("ij,hwjf->hwif", basis, inner)), keras.Variable(inner)
    optimizer, direct = make_optimizer([kernel]), make_optimizer([plain])
    optimizer.set_basis(kernel, basis)
    for step in range(steps):
        gradient = rng.normal(size=inner.shape).astype(np.float32)
        inner_gradient = np.einsum("ij,hwif->hwjf", basis, gradient)
        optimizer.update([tf.constant(gradient)], tf.constant(1.0), tf.constant(step))
        direct.update([tf.constant(inner_gradient)], tf.constant(1.0), tf.constant(step))
    return kernel.numpy(), np.einsum("ij,hwjf->hwif", basis, plain.numpy())


def test_in_a_basis_a_kernel_moves_as_one_that_acts_on_inputs_in_the_basis():
    basis = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    np.testing.assert_allclose(*moved_in_a_basis(basis), atol=1e-4)


def test_a_rotation_of_the_inputs_changes_nothing_and_a_scale_does():
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0].astype(np.float32)
    start = rng.normal(size=(3, 3, 4, 8)).astype(np.float32)
    gradient = tf.constant(rng.normal(size=start.shape).astype(np.float32))
    found = []
    for basis in (None, rotation, np.diag([1, 2, 3, 4]).astype(np.float32)):
        kernel = keras.Variable(start)
        optimizer = make_optimizer([kernel])
        if basis is not None:
            optimizer.set_basis(kernel, basis)
        optimizer.update([gradient], tf.constant(1.0), tf.constant(0))
        found.append(kernel.numpy())
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    assert np.abs(found[2] - found[0]).max() > 0.01


def test_a_basis_can_be_replaced_after_the_graph_is_traced():
    kernel = keras.Variable(np.zeros((1, 1, 4, 4), np.float32))
    optimizer = make_optimizer([kernel], kernel_decay=0.0)
    optimizer.set_basis(kernel, np.eye(4, dtype=np.float32))
    update = tf.function(lambda: optimizer.update([tf.eye(4)[None, None]], tf.constant(1.0), tf.constant(0)))
    update()
    first = kernel.numpy()
    kernel.assign(tf.zeros_like(kernel))
    optimizer.reset()
    optimizer.set_basis(kernel, 3 * np.eye(4, dtype=np.float32))
    update()
    np.testing.assert_allclose(kernel.numpy(), 3 * first, rtol=1e-4)
