"""The training loop: that the graph does what the recipe says, and leaves nothing behind."""

import gc

import numpy as np
import psutil

from skinmnist.models.cnn.classifier import CNNClassifier


def test_many_fits_in_one_process_do_not_pile_up():
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (5000, 32 * 32 * 3), dtype=np.uint8), np.arange(5000) % 3
    model = CNNClassifier((32, 32, 3), steps=1, batch_size=4, channels=(8,), pairs=(1,), coarse_share=0.0)
    memory = []
    for _ in range(5):
        model.fit(pixels, labels)
        gc.collect()
        memory.append(psutil.Process().memory_info().rss / 2**20)
    table = pixels.nbytes / 2**20
    assert memory[-1] - memory[1] < 2 * table, f"three fits of {table:.0f} MB left {memory} MB behind"
