"""Decoupled training: strategies that replace only the last layer of a trained network.

Kang et al., "Decoupling representation and classifier for long-tailed recognition" (ICLR 2020), find that
class imbalance harms the last layer of a network, the head, more than the layers before it, the trunk. All
strategies here start from the network of ``none``, whose trunk they leave unchanged:

- ``crt`` trains a new head on batches in which all classes are equally frequent;
- ``tau_norm`` divides the weights of each class by a power of their norm;
- ``smote_head`` trains a new head on embeddings, the outputs of the trunk, resampled by SMOTE.

The training rows are embedded as they are, in one view. Predictions use the mean embedding over symmetric
views; because a head is linear, this equals the mean of the logits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from skinmnist.datasets.mapped import MappedRows
from skinmnist.errors import InputError
from skinmnist.resampling.registry import make_sampler, resample

T = TypeVar("T")
Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]

#: Steps and batch size for training a head, which take a fifth of a second with 192 inputs.
STEPS, BATCH_SIZE = 1000, 256
#: Highest learning rate, and weight decay relative to it. In two folds of HAM10000 at 28x28 and five at 8x8,
#: other values, dropout and label smoothing changed the macro-AUC by at most .002.
LEARNING_RATE, WEIGHT_DECAY = 0.01, 1.0
#: Candidates for tau; Kang et al. use the same range.
TAUS = np.linspace(0.0, 1.0, 11)
#: Largest number of training rows of each class; more would only take memory.
CLASS_ROWS = 10_000


class Trunk:
    """Memory for one fold: the network and the embeddings that several strategies share.

    The memory refers to one table, one fold and one seed. `seconds` is the wall time spent on its contents.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._known: dict[bytes, Any] = {}

    @property
    def trained(self) -> bool:
        """Whether a network has been trained."""
        return bool(self._known)

    def recall(self, what: str, inputs: Sequence[Any], compute: Callable[[], T]) -> T:
        """Return what was computed from the same inputs before, or compute it."""
        state = hashlib.blake2b(what.encode())
        for each in inputs:
            # Mapped rows stay unread; rows with the same numbers have the same content.
            content = each.rows if isinstance(each, MappedRows) else each
            state.update(content.tobytes() if isinstance(content, np.ndarray) else repr(content).encode())
        key = state.digest()
        if key not in self._known:
            start = time.perf_counter()
            self._known[key] = compute()
            self.seconds += time.perf_counter() - start
        found: T = self._known[key]
        return found


@dataclass(frozen=True, eq=False)
class Head:
    """A last layer: the logits of embeddings (n, d) are ``embeddings @ weights + offsets``.

    `weights` (d, k) and `offsets` (k,) are float32.
    """

    weights: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.float32]

    def logits(self, embeddings: Floats) -> npt.NDArray[np.float64]:
        """Return the logits (n, k)."""
        with threadpool_limits(1):  # The order of a sum must not depend on the number of threads.
            return embeddings.astype(np.float64) @ self.weights.astype(np.float64) + self.offsets


@dataclass(frozen=True, eq=False)
class TrunkOutput:
    """The outputs of a trunk for training rows, from which a strategy makes a head.

    `embeddings` (n, d) are float32, `codes` (n,) are class codes 0..k-1, and `class_counts` (k,) are the
    numbers of training rows, of which `sample_rows` may have chosen some. `head` is that of ``none``, and
    `parts` are the columns that belong to each network of an ensemble.
    """

    embeddings: npt.NDArray[np.float32]
    codes: Integers
    class_counts: Integers
    head: Head
    parts: Sequence[slice]


@dataclass(frozen=True, eq=False)
class NewHead:
    """A head, the class mix (k,) to which its probabilities refer, and notes."""

    head: Head
    class_mix: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


def make_head(name: str, trunk: TrunkOutput, seed: int) -> NewHead:
    """Make the head of a strategy, one of `HEADS`, deterministically."""
    if name not in HEADS:
        raise InputError(f"the network received the head {name!r}; choose one of {', '.join(HEADS)}")
    with threadpool_limits(1):
        return HEADS[name](trunk, seed)


def sample_rows(codes: Integers, seed: int, most: int = CLASS_ROWS) -> Integers:
    """Return ascending positions of at most `most` rows of each class, sampled at random."""
    order = np.random.default_rng([seed, 1]).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    place = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[place < most])


def _retrain(trunk: TrunkOutput, seed: int) -> NewHead:
    """Train a new head with class-balanced sampling (classifier re-training)."""
    head = train_head(trunk.embeddings, trunk.codes, "balanced_batches", seed)
    n_classes = len(trunk.class_counts)
    return NewHead(head, np.full(n_classes, 1 / n_classes))


def _on_smote(trunk: TrunkOutput, seed: int) -> NewHead:
    """Train a new head on embeddings that SMOTE has balanced."""
    resampled = resample(make_sampler("SMOTE", seed), trunk.embeddings, trunk.codes.astype(np.int64))
    rows = np.asarray(resampled.rows, dtype=np.float32)
    counts = np.bincount(resampled.labels, minlength=len(trunk.class_counts))
    return NewHead(train_head(rows, resampled.labels, None, seed), counts / counts.sum(), resampled.notes)


def _normalise(trunk: TrunkOutput, seed: int) -> NewHead:
    """Divide the weights of each class by a power of their norm, chosen on the training rows.

    The power has the lowest log loss over the training rows with equal weight for each class. The trunk has
    seen these rows, so rare classes look easier than they are and the power tends to be too small; a single
    number cannot overfit further. Unlike Kang et al., norms are relative to their geometric mean, which
    leaves the temperature of the probabilities unchanged, and offsets are kept, so that a power of 0 is the
    network of ``none``.
    """
    own, codes = np.arange(len(trunk.codes)), trunk.codes
    shares = 1 / np.bincount(codes)[codes]
    losses = []
    for tau in TAUS:
        logits = normalise(trunk.head, float(tau), trunk.parts).logits(trunk.embeddings)
        losses.append(-float(shares @ _log_softmax(logits)[own, codes]))
    tau = float(TAUS[int(np.argmin(losses))])
    head = normalise(trunk.head, tau, trunk.parts)
    norms = np.linalg.norm(trunk.head.weights, axis=0)
    note = (
        f"tau = {tau:.1f}, with the lowest balanced log loss on the training rows; the norms of the classes "
        f"differ by a factor of {norms.max() / max(norms.min(), 1e-12):.2f}"
    )
    return NewHead(head, referred_mix(head, trunk), (note,))


def normalise(head: Head, tau: float, parts: Sequence[slice]) -> Head:
    """Divide the weights of each class by ``(norm / geometric mean of the norms) ** tau``, for each part."""
    weights = head.weights.copy()
    for part in parts:
        norms = np.linalg.norm(weights[part], axis=0).clip(1e-12)
        weights[part] /= (norms / np.exp(np.log(norms).mean())) ** tau
    return Head(weights, head.offsets)


def referred_mix(head: Head, trunk: TrunkOutput) -> npt.NDArray[np.float64]:
    """Return the class mix to which the probabilities of a changed head refer.

    With offsets of the logits chosen so that the mean probabilities over the training rows are the class
    frequencies, probabilities refer to these frequencies. The mix is the opposite of the offsets that the
    changed head needs, beyond those that the head of ``none`` needs.
    """
    natural = trunk.class_counts / trunk.class_counts.sum()
    weights = (trunk.class_counts / np.bincount(trunk.codes, minlength=len(natural)))[trunk.codes]
    before, after = (
        _matching_offsets(one.logits(trunk.embeddings), natural, weights) for one in (trunk.head, head)
    )
    mix = natural * np.exp(before - after)
    return np.asarray(mix / mix.sum())


def _matching_offsets(
    logits: npt.NDArray[np.float64], natural: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return offsets, with mean 0, for which the weighted mean probabilities are `natural`."""
    offsets = np.zeros(len(natural))
    for _ in range(100):
        mean = np.average(np.exp(_log_softmax(logits + offsets)), axis=0, weights=weights)
        change = np.log(natural / mean.clip(1e-300))
        offsets += change
        if np.abs(change).max() < 1e-6:
            break
    return offsets - offsets.mean()


#: Strategies by name.
HEADS: dict[str, Callable[[TrunkOutput, int], NewHead]] = {
    "crt": _retrain,
    "tau_norm": _normalise,
    "smote_head": _on_smote,
}


def train_head(embeddings: Floats, codes: Integers, balance: str | None, seed: int) -> Head:
    """Train multinomial logistic regression from zero, on batches drawn as for networks.

    The optimizer is Adam with decoupled weight decay, on standardised embeddings. The learning rate follows
    the cycle of the networks.
    """
    from skinmnist.models.cnn.training import draw_batches, one_cycle

    n_classes = int(codes.max()) + 1
    centre, spread = embeddings.mean(axis=0), embeddings.std(axis=0)
    # Units that are active in a few rows only would become huge in other rows.
    scale = 1 / np.maximum(spread, 0.1 * spread.mean() + 1e-6)
    inputs = ((embeddings - centre) * scale).astype(np.float32)
    targets = np.eye(n_classes, dtype=np.float32)[codes]
    random_state = np.random.default_rng([seed, 2])
    weights = np.zeros((inputs.shape[1] + 1, n_classes), dtype=np.float32)  # The last row are the offsets.
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    inputs = np.column_stack([inputs, np.ones(len(inputs), dtype=np.float32)])
    order = draw_batches(codes, STEPS, BATCH_SIZE, balance, random_state)
    for step, (rows, share) in enumerate(zip(order, one_cycle(STEPS), strict=True), start=1):
        batch = inputs[rows]
        errors = np.exp(_log_softmax(batch @ weights)) - targets[rows]
        gradient = batch.T @ errors / np.float32(len(rows))
        first += 0.1 * (gradient - first)
        second += 0.01 * (gradient**2 - second)
        rate = LEARNING_RATE * share
        weights[:-1] *= 1 - rate * WEIGHT_DECAY
        weights -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-7)
    own = weights[:-1].astype(np.float64) * scale[:, None]
    return Head(own.astype(np.float32), (weights[-1] - centre @ own).astype(np.float32))


def _log_softmax(logits: Floats) -> Floats:
    moved = logits - logits.max(axis=1, keepdims=True)
    shares: Floats = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    return shares
