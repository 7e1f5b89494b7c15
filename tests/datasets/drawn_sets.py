"""Drawn files in the layout of MedMNIST's, small and easy to learn."""

import numpy as np

SIZES = {"train": 42, "val": 14, "test": 28}


def drawn_set(n_classes, side=28, channels=3, seed=0, column=True):
    """Return the arrays of a set whose classes differ in brightness."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for part, n in SIZES.items():
        labels = np.resize(np.arange(n_classes), n).astype(np.uint8)
        shape = (n, side, side, 3) if channels == 3 else (n, side, side)
        level = (20 + 200 * labels.astype(int) // n_classes).reshape(n, *[1] * (len(shape) - 1))
        arrays[f"{part}_images"] = (level + rng.integers(0, 40, shape)).clip(0, 255).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None] if column else labels
    return arrays


def write_set(path, arrays, packed=True):
    """Write arrays as an ``.npz``, and return its path."""
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path
