"""Configuration of TensorFlow and Keras for all networks: one thread, no GPU, no messages, and precision.

TensorFlow is imported on first use of `tf` or `keras`; choosing the precision does not require it. The
settings apply to the process, unless TensorFlow has already started. Cells run in parallel single-threaded
processes, which costs less than one cell on many threads. The order of summation is fixed, so the same seed
gives the same weights, bit for bit.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinmnist.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = ["choose_precision", "has_fast_bfloat16", "keras", "tf"]

PRECISIONS = ("auto", "float32", "bfloat16")
#: Environment variables that would change the computations of networks.
_DROPPED = (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "KERAS_NNX_ENABLED",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_USE_LEGACY_KERAS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
#: CPU flags for bfloat16 multiplication at twice the speed of float32.
_FAST_FLAGS = {"avx512_bf16", "amx_bf16"}


def choose_precision(asked: str) -> str:
    """Return ``"bfloat16"`` or ``"float32"``.

    ``"auto"`` selects bfloat16 if the processor has instructions for it: convolutions then take half the
    time, and scores are indistinguishable. Weights, their updates, normalisation, logits and loss stay in
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
    """Return whether this processor has instructions for bfloat16; False if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not _FAST_FLAGS.isdisjoint(flags)


def __getattr__(name: str) -> Any:
    if name not in ("keras", "tf"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for variable in _DROPPED if "tensorflow" not in sys.modules else ():
        os.environ.pop(variable, None)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _silenced_stderr():
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
            tf.config.set_visible_devices([], "GPU")
            tf.config.list_logical_devices()
        import keras

    # Overrides ~/.keras/keras.json.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    # Every cell compiles its own graphs, which makes TensorFlow warn.
    tf.get_logger().setLevel("ERROR")
    globals().update(keras=keras, tf=tf)
    return globals()[name]


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Discard standard error, to which TensorFlow's libraries print messages when loaded."""
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(nowhere)
        os.close(stderr)
