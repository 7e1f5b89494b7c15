"""The precision that networks compute in, known before TensorFlow is imported."""

from __future__ import annotations

import functools
from pathlib import Path

from skinmnist.errors import InputError

PRECISIONS = ("auto", "float32", "bfloat16")
#: Flags of processors that multiply bfloat16 numbers twice as fast as float32.
_FAST_FLAGS = {"avx512_bf16", "amx_bf16"}


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
