"""Whether the file of a model answers what the model in memory answers, how large it is, and how fast.

    python experiments/benchmarks/answering.py data/hmnist_28_28_RGB.csv data/images

Trains `cnn` on the whole table, seed 0, and keeps it in a temporary folder. IMAGES holds JPEG thumbnails
that are named by their image_id; each is answered by the file, and its row of the table by the model in
memory. A first answer is a process of its own, start-up included, the median of three; later answers come
from the model of this process, from file to prediction. Core seconds hardly depend on what else the machine
does; wall seconds do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.experiment.train_model import train_model
from skinmnist.inference.classifier import Classifier, Prediction, load_classifier

STARTS, ROUNDS = 3, 10


def clocks() -> np.ndarray:
    """Return wall seconds, and core seconds of this process and of those that it has started."""
    return np.array([time.perf_counter(), sum(os.times()[:4])])


def first_answer(model: Path, picture: Path) -> np.ndarray:
    """Return the wall and core seconds of one picture in a process of its own."""
    command = [sys.executable, "-m", "skinmnist.predict", str(model), str(picture)]
    start = clocks()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return clocks() - start


def answers(classifier: Classifier, pictures: list[Path]) -> np.ndarray:
    """Return probabilities of the pictures, shape (n, k)."""
    found = classifier.classify_many(pictures)
    return np.array([list(one.probabilities.values()) for one in found if isinstance(one, Prediction)])


def main(csv: str, images: str) -> None:
    table = load_hmnist(csv)
    if table.image_ids is None:
        sys.exit(f"{csv} has no metadata beside it; its rows cannot be told by their image_id")
    row_of = {str(name): row for row, name in enumerate(table.image_ids)}
    pictures = [file for file in sorted(Path(images).glob("*.jpg")) if file.stem in row_of]
    if not pictures:
        sys.exit(f"{images} holds no JPEG that is named by an image_id of {csv}")
    kept = train_model(table, "cnn")
    rows = table.pixels[[row_of[file.stem] for file in pictures]]
    expected = kept.predict_proba(rows)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.skm"
        model.write_bytes(kept.content)
        starts = [first_answer(model, pictures[0]) for _ in range(STARTS)]
        classifier = load_classifier(model)
    difference = np.abs(answers(classifier, pictures) - expected).max()
    start = clocks()
    for _ in range(ROUNDS):
        answers(classifier, pictures)
    speed = ROUNDS * len(pictures) / (clocks() - start)
    wall, core = np.median(starts, axis=0)
    print(f"{table.name}: cnn, a file of {len(kept.content):,} bytes")
    print(f"largest difference from the model in memory: {difference:.1e}, {len(pictures)} pictures")
    print(f"one picture, start-up included: {wall:.2f} s, {core:.2f} core seconds, median of {STARTS}")
    print(f"afterwards: {speed[0]:,.0f} pictures a second, {speed[1]:,.0f} per core second")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python experiments/benchmarks/answering.py CSV IMAGES")
    main(*sys.argv[1:])
