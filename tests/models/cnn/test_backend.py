"""How TensorFlow is set up: seen from a fresh process, since the settings hold for the whole of one."""

import subprocess
import sys

SCRIPT = """
import numpy as np
from skinmnist.models.cnn.classifier import CNNClassifier
from skinmnist.models.cnn.backend import keras, tf

rng = np.random.default_rng(0)
pixels, labels = rng.integers(0, 256, (40, 192), dtype=np.uint8), np.arange(40) % 2
for seed in range(8):
    model = CNNClassifier((8, 8, 3), steps=2, batch_size=4, channels=(8,), pairs=(0,), random_state=seed)
    model.fit(pixels, labels).predict(pixels)
assert keras.backend.backend() == "tensorflow"
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == 1
assert not tf.config.get_visible_devices("GPU")
"""


def test_one_thread_and_not_a_word_on_the_terminal():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
