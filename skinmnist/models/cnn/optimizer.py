"""Weight updates inside the training graph.

Keras optimizers use several small operations per update, which is slow for networks this small. Here, every
Adam update is a single fused kernel, and convolution kernels with equal shorter sides are orthogonalised
together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.models.cnn.backend import keras, tf

#: Coefficients of the Newton-Schulz iteration.
ITERATIONS = 5


def orthogonalise(stacks: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Replace the singular values of matrices with numbers near 1, using a Newton-Schulz iteration.

    Each stack contains float32 matrices of equal shape, (m, rows, columns). The coefficients are those of
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). The resulting values are
    between about 0.7 and 1.2, which works as well as 1 and takes fewer iterations.
    """
    # Every step, and thus their composition, is a polynomial of the smaller product of a matrix with itself.
    # Products of equal size are processed together.
    unit = [stack / (tf.norm(stack, axis=(-2, -1), keepdims=True) + 1e-7) for stack in stacks]
    tall = [stack.shape[-2] > stack.shape[-1] for stack in stacks]
    grams = [
        tf.matmul(stack, stack, transpose_a=upright, transpose_b=not upright)
        for stack, upright in zip(unit, tall, strict=True)
    ]
    products = list(grams)
    for size in {gram.shape[-1] for gram in grams}:
        alike = [at for at, gram in enumerate(grams) if gram.shape[-1] == size]
        evened = _even_out(tf.concat([grams[at] for at in alike], 0))
        for at, product in zip(alike, tf.split(evened, [grams[at].shape[0] for at in alike]), strict=True):
            products[at] = product
    return [
        tf.matmul(stack, product) if upright else tf.matmul(product, stack)
        for product, stack, upright in zip(products, unit, tall, strict=True)
    ]


def _even_out(gram: tf.Tensor) -> tf.Tensor:
    """Return matrices that equalise the singular values of the matrices with products ``gram`` (m, n, n)."""
    identity = tf.eye(gram.shape[-1])
    product: tf.Tensor = None
    for _ in range(ITERATIONS):
        factor = 3.4445 * identity - 4.7750 * gram + 2.0315 * tf.matmul(gram, gram)
        product = factor if product is None else tf.matmul(factor, product)
        gram = tf.matmul(factor, tf.matmul(gram, factor))
    return product


class _Move(NamedTuple):
    """A kernel, the momentum that moves it, and its basis, in which the momentum is; see `MuonAdam`."""

    variable: tf.Variable
    momentum: tf.Tensor
    basis: tf.Variable | None


class MuonAdam:
    """Muon for convolution kernels, Adam for everything else, with weight decay of matrices.

    Muon (Jordan et al. 2024) moves a kernel, viewed as a matrix of inputs by outputs, by its orthogonalised
    Nesterov momentum, so all directions advance equally. Adam (Kingma & Ba 2015) scales every number
    separately. Weights decay as in Loshchilov & Hutter (2019). Variables with four axes are convolution
    kernels; if `kernel_rate` is None, Adam updates them as well. The rates are the highest of a training run,
    and the decay per step is relative to them.

    A kernel may have a basis: a matrix of its input channels by as many others, as set by `set_basis`. Muon
    then moves the kernel that would act on the inputs in this basis, which is the same function of the inputs
    with another geometry.
    """

    momentum = 0.9  # For Muon.
    beta_1, beta_2, epsilon = 0.9, 0.99, 1e-7

    def __init__(
        self,
        variables: list[keras.Variable],
        *,
        learning_rate: float,
        weight_decay: float,
        kernel_rate: float | None,
        kernel_decay: float,
    ) -> None:
        self.variables = [variable.value for variable in variables]
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.kernel_rate, self.kernel_decay = kernel_rate or 0.0, kernel_decay
        self._first = [tf.Variable(tf.zeros_like(variable)) for variable in self.variables]
        self._second = [
            tf.Variable(tf.zeros_like(variable)) if kernel_rate is None or len(variable.shape) < 4 else None
            for variable in self.variables
        ]
        self._bases: dict[int, tf.Variable] = {}

    def set_basis(self, kernel: keras.Variable, basis: npt.NDArray[np.float32]) -> None:
        """Set the basis (inputs, inputs) of a kernel's input channels; call it before graphs are traced."""
        at = next(at for at, variable in enumerate(self.variables) if variable is kernel.value)
        if at in self._bases:
            self._bases[at].assign(basis)
        else:
            self._bases[at] = tf.Variable(basis)

    def reset(self) -> None:
        """Reset all momentum to zero."""
        for slot in (*self._first, *self._second):
            if slot is not None:
                slot.assign(tf.zeros_like(slot))

    def update(self, gradients: list[tf.Tensor], share: tf.Tensor, step: tf.Tensor) -> None:
        """Update the variables at a share of the highest learning rates, after `step` previous steps."""
        alike: dict[tuple[int, ...], list[_Move]] = defaultdict(list)
        time = tf.cast(step + 1, tf.float32)
        slots = zip(self.variables, gradients, self._first, self._second, strict=True)
        for at, (variable, gradient, first, second) in enumerate(slots):
            if second is None:
                basis = self._bases.get(at)
                if basis is not None:
                    gradient = tf.matmul(basis, gradient, transpose_a=True)
                first.assign(self.momentum * first + gradient)
                alike[tuple(variable.shape)].append(_Move(variable, gradient + self.momentum * first, basis))
            else:
                if len(variable.shape) > 1:
                    variable.assign_sub(share * self.learning_rate * self.weight_decay * variable)
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle,
                    m=first.handle,
                    v=second.handle,
                    beta1_power=self.beta_1**time,
                    beta2_power=self.beta_2**time,
                    lr=share * self.learning_rate,
                    beta1=self.beta_1,
                    beta2=self.beta_2,
                    epsilon=self.epsilon,
                    grad=gradient,
                )
        self._muon(list(alike.values()), share * self.kernel_rate)

    def _muon(self, alike: list[list[_Move]], rate: tf.Tensor) -> None:
        stacks = [
            tf.stack([tf.reshape(move.momentum, (-1, move.momentum.shape[-1])) for move in group])
            for group in alike
        ]
        for group, directions in zip(alike, orthogonalise(stacks), strict=True):
            inputs, outputs = directions.shape[1:]
            length = max(1.0, outputs / inputs) ** 0.5
            for (variable, _, basis), direction in zip(group, tf.unstack(directions), strict=True):
                step = length * tf.reshape(direction, variable.shape)
                if basis is not None:
                    step = tf.matmul(basis, step)
                variable.assign_sub(rate * (step + self.kernel_decay * variable))
