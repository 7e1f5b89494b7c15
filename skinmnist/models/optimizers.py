"""Updates of the weights inside the training graph.

Keras' optimizers make several small operations of each update; on networks as small as these that shows. Here
every Adam update is one fused kernel, and convolution kernels of equal shape are orthogonalised together.
"""

from __future__ import annotations

from skinmnist.models.backend import keras, tf


def orthogonalise(matrices: tf.Tensor, iterations: int = 5) -> tf.Tensor:
    """Replace the singular values of matrices by numbers near 1, by a Newton-Schulz iteration.

    The coefficients are those of Jordan et al., "Muon: An optimizer for hidden layers in neural networks"
    (2024): they end between about 0.7 and 1.2, which serves as well as 1 and takes fewer iterations.

    Parameters
    ----------
    matrices : float32 tensor of shape (m, rows, columns)
    iterations : int, default=5
    """
    wide = tf.linalg.matrix_transpose(matrices) if matrices.shape[-2] > matrices.shape[-1] else matrices
    wide /= tf.norm(wide, axis=(-2, -1), keepdims=True) + 1e-7
    # Every step is a polynomial of the small matrix wide @ wide.T, and so are all of them together.
    gram = tf.matmul(wide, wide, transpose_b=True)
    identity = tf.eye(wide.shape[-2])
    product = identity
    for _ in range(iterations):
        factor = 3.4445 * identity - 4.7750 * gram + 2.0315 * tf.matmul(gram, gram)
        product = tf.matmul(factor, product)
        gram = tf.matmul(factor, tf.matmul(gram, factor))
    result = tf.matmul(product, wide)
    return tf.linalg.matrix_transpose(result) if matrices.shape[-2] > matrices.shape[-1] else result


class MuonAdam:
    """Muon for the kernels of convolutions, Adam for everything else; matrices decay.

    Muon (Jordan et al. 2024) moves a kernel, seen as a matrix of inputs by outputs, by its orthogonalised
    Nesterov momentum, so that all directions advance alike; Adam (Kingma & Ba 2015) scales every number on
    its own; weights decay as in Loshchilov & Hutter (2019).

    Parameters
    ----------
    variables : list of keras.Variable
        The trainable variables; those of four axes are kernels of convolutions.
    learning_rate, kernel_rate : float
        Highest learning rates of Adam and of Muon; a `kernel_rate` of None leaves kernels to Adam.
    weight_decay, kernel_decay : float
        Decay per step relative to the rate, of matrices under Adam and of kernels under Muon.
    momentum : float, default=0.9
        Of Muon.
    """

    beta_1, beta_2, epsilon = 0.9, 0.99, 1e-7

    def __init__(
        self,
        variables: list[keras.Variable],
        *,
        learning_rate: float,
        weight_decay: float,
        kernel_rate: float | None,
        kernel_decay: float,
        momentum: float = 0.9,
    ) -> None:
        self.variables = [variable.value for variable in variables]
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.kernel_rate, self.kernel_decay, self.momentum = kernel_rate or 0.0, kernel_decay, momentum
        self._first = [tf.Variable(tf.zeros_like(variable)) for variable in self.variables]
        self._second = [
            tf.Variable(tf.zeros_like(variable)) if kernel_rate is None or len(variable.shape) < 4 else None
            for variable in self.variables
        ]

    def reset(self) -> None:
        """Forget all momentum."""
        for slot in (*self._first, *self._second):
            if slot is not None:
                slot.assign(tf.zeros_like(slot))

    def update(self, gradients: list[tf.Tensor], cycle: tf.Tensor, step: tf.Tensor) -> None:
        """Move the variables.

        Parameters
        ----------
        gradients : list of tensor
            In the order of the variables.
        cycle : float32 tensor of shape ()
            Share of the highest learning rates that holds at this step.
        step : int32 tensor of shape ()
            Steps made before this one.
        """
        alike: dict[tuple[int, ...], list[tuple[tf.Variable, tf.Tensor]]] = {}
        for variable, gradient, first, second in zip(
            self.variables, gradients, self._first, self._second, strict=True
        ):
            if second is None:
                first.assign(self.momentum * first + gradient)
                alike.setdefault(tuple(variable.shape), []).append(
                    (variable, gradient + self.momentum * first)
                )
            else:
                self._adam(variable, gradient, first, second, cycle * self.learning_rate, step)
        for shape, members in alike.items():
            self._muon(shape, members, cycle * self.kernel_rate)

    def _muon(
        self, shape: tuple[int, ...], members: list[tuple[tf.Variable, tf.Tensor]], rate: tf.Tensor
    ) -> None:
        outputs = shape[-1]
        directions = orthogonalise(tf.stack([tf.reshape(move, (-1, outputs)) for _, move in members]))
        inputs = directions.shape[-2]
        length = max(1.0, outputs / inputs) ** 0.5
        for (variable, _), direction in zip(members, tf.unstack(directions), strict=True):
            move = length * tf.reshape(direction, shape) + self.kernel_decay * variable
            variable.assign_sub(rate * move)

    def _adam(
        self,
        variable: tf.Variable,
        gradient: tf.Tensor,
        first: tf.Variable,
        second: tf.Variable,
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        if len(variable.shape) > 1:
            variable.assign_sub(rate * self.weight_decay * variable)
        time = tf.cast(step + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=self.beta_1**time,
            beta2_power=self.beta_2**time,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
