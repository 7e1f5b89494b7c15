"""TensorFlow and Keras as every network here uses them: one thread, no GPU, no noise on the terminal.

The settings hold for the process, unless TensorFlow was started before. Cells run side by side in processes
of one thread each, which costs less than one cell on many threads, and the order of a sum never changes: the
same seed gives the same weights bit for bit.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["keras", "tf"]


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Discard standard error: TensorFlow's own libraries greet there as they load."""
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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"
with _silenced_stderr():
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.set_visible_devices([], "GPU")
        tf.config.list_logical_devices()
    import keras

# Every cell compiles graphs of its own, which TensorFlow warns of as a mistake.
tf.get_logger().setLevel("ERROR")
