"""What is known of the registered networks before TensorFlow is imported: budgets and precision."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from skinmnist.errors import InputError
from skinmnist.models.spec import Setting

#: Training rows of one of five folds of HAM10000, for which the budgets are stated.
FULL_TABLE_ROWS = 8012

#: Steps of 256 rows for small pictures. Over three folds and seeds of the 8x8 table 150 had accuracy .755 and
#: macro-AUC .920 in 6.1 core-seconds of fit, 200 had .763 and .925 in 7.5; 500 steps of 128 rows, .764 and
#: .926 over five folds, took 10.4.
SMALL_PICTURE_STEPS = 150

PRECISIONS = ("auto", "float32", "bfloat16")
#: Flags of processors that multiply bfloat16 numbers twice as fast as float32.
_FAST_FLAGS = {"avx512_bf16", "amx_bf16"}


def make_cnn(setting: Setting) -> Any:
    """Build the network of the default comparison: about 25 seconds on a fold of HAM10000 at 28 x 28.

    Pictures too small for steps at half resolution, which are cheap, get fewer steps in larger batches: about
    7 seconds at 8 x 8.
    """
    from skinmnist.models.cnn.network import grid_side
    from skinmnist.models.cnn.training import COARSE_GRID

    if grid_side(setting.shape) >= COARSE_GRID:
        return _build(setting, 700)
    return _build(setting, SMALL_PICTURE_STEPS, batch_size=256)


def make_cnn_tiny(setting: Setting) -> Any:
    """Build the network of ``--quick``: about 3 seconds on 1,000 rows of 28 x 28."""
    return _build(setting, 1100, batch_size=64, channels=(16, 32), pairs=(0, 1), coarse_share=0.8, views=2)


def make_cnn_thorough(setting: Setting) -> Any:
    """Build a wider network for a longer run, and beside it one on the lesion's features.

    About three minutes on a fold of HAM10000 at 28 x 28. So long a run learns its pictures by heart unless
    they are changed more than those of the shorter ones.
    """
    layers = {"channels": (48, 96, 128), "pairs": (0, 2, 1), "feature_layers": (256,)}
    return _build(setting, 2400, dropout=0.4, max_shift=3, colour_spread=0.1, **layers)


def make_cnn_early_stopping(setting: Setting) -> Any:
    """Build the default network, trained as most published ones are: Adam, until the validation loss rests.

    Its learning rate is halved after 3 checks without a lower loss, and it stops after 8; it is checked
    about once in a pass over the training rows of HAM10000.
    """
    patience = {"rate_patience": 3, "stop_patience": 8}
    return _build(setting, 1900, kernel_rate=None, learning_rate=1e-3, coarse_share=0.0, **patience)


def _build(setting: Setting, steps_at_full_table: int, **parameters: Any) -> Any:
    from skinmnist.models.cnn.classifier import CNNClassifier

    steps = steps_for(setting.train_rows, steps_at_full_table)
    return CNNClassifier(setting.shape, steps=steps, random_state=setting.seed, **parameters)


def steps_for(train_rows: int, steps_at_full_table: int) -> int:
    """Let steps grow with the rows before resampling: every table is seen the same number of times."""
    return max(20, round(steps_at_full_table * train_rows / FULL_TABLE_ROWS))


def choose_precision(asked: str) -> str:
    """Return ``"bfloat16"`` or ``"float32"``.

    ``"auto"`` is bfloat16 where the processor has instructions for it: convolutions then take half the time,
    at scores that cannot be told apart. Weights and their updates, normalisation, logits and loss stay
    float32 (Micikevicius et al., "Mixed precision training", 2018).
    """
    if asked not in PRECISIONS:
        raise InputError(
            f"the network received the precision {asked!r}; choose one of {', '.join(PRECISIONS)}"
        )
    if asked != "auto":
        return asked
    return "bfloat16" if has_fast_bfloat16() else "float32"


@functools.cache
def has_fast_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16; False where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not _FAST_FLAGS.isdisjoint(flags)
