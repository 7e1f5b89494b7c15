"""What a training run does at which step: rows and learning rates, decided beforehand from the seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError

#: Exponent of the class frequency by which batches are drawn, for each way of balancing them.
BALANCES = {None: 1.0, "sqrt_batches": 0.5, "balanced_batches": 0.0}


def one_cycle(steps: int, warm_up: float = 0.2) -> npt.NDArray[np.float32]:
    """Share of the highest learning rate at each step: a straight rise to 1, then half a cosine down to 0.

    After Smith & Topin, "Super-convergence" (2018). Shape (steps,).
    """
    done = (np.arange(steps) + 0.5) / steps
    rise = done / warm_up
    fall = 0.5 * (1.0 + np.cos(np.pi * (done - warm_up) / (1.0 - warm_up)))
    return np.where(done < warm_up, rise, fall).astype(np.float32)


def warm_up(steps: int, rise: int = 20) -> npt.NDArray[np.float32]:
    """Share of the highest learning rate at each step: a short straight rise to 1, and no fall.

    Shape (steps,).
    """
    return np.minimum(1.0, (np.arange(steps) + 1) / rise).astype(np.float32)


def draw_batches(
    codes: npt.NDArray[np.integer],
    steps: int,
    batch_size: int,
    balance: str | None,
    random_state: np.random.Generator,
) -> npt.NDArray[np.int32]:
    """Row numbers of each batch.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Class codes 0..k-1 of the rows.
    steps, batch_size : int
    balance : {None, "sqrt_batches", "balanced_batches"}
        None: one shuffled pass over all rows after another. Otherwise the class of each place in a batch is
        drawn first, in proportion to the square root of the class frequencies or with equal chances, and its
        row comes from shuffled passes over the rows of that class.
    random_state : numpy.random.Generator

    Returns
    -------
    ndarray of shape (steps, batch_size), int32
        No row comes a second time before every row (of its class) has come once.
    """
    if balance not in BALANCES:
        raise InputError(
            f"the network received the balance {balance!r}; choose None, 'sqrt_batches' or 'balanced_batches'"
        )
    wanted = steps * batch_size
    if balance is None:
        order = _passes(np.arange(len(codes)), wanted, random_state)
    else:
        chances = np.bincount(codes) ** BALANCES[balance]
        classes = random_state.choice(len(chances), size=wanted, p=chances / chances.sum())
        order = np.empty(wanted, dtype=np.int64)
        for code in range(len(chances)):
            places = np.flatnonzero(classes == code)
            order[places] = _passes(np.flatnonzero(codes == code), len(places), random_state)
    return order.reshape(steps, batch_size).astype(np.int32)


def _passes(
    rows: npt.NDArray[np.integer], wanted: int, random_state: np.random.Generator
) -> npt.NDArray[np.integer]:
    """One shuffled pass over the rows after another, cut at the number wanted."""
    passes = [random_state.permutation(rows) for _ in range(-(-wanted // len(rows)))]
    return np.concatenate([rows[:0], *passes])[:wanted]
