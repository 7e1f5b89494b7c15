"""One call from a picture to an answer."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from skinmnist.errors import InputError
from skinmnist.inference.classifier import Classifier, load_classifier
from skinmnist.inference.home import newest_model
from skinmnist.inference.predicted import Prediction


def classify_image(
    image: Any, model: str | os.PathLike[str] | Classifier | None = None
) -> Prediction | list[Prediction | InputError]:
    """Classify a picture, or several. The answer is no diagnosis.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image, ndarray, or a list or tuple of these
        A picture of any size; arrays are uint8, RGB or grey. An array with four axes is several pictures.
    model : path or Classifier, optional
        The newest file in the user's model folder by default, see `skinmnist.inference.home.model_folder`.

    Returns
    -------
    Prediction or list
        For several pictures a list, in which an `InputError` stands for each that cannot be opened.

    Raises
    ------
    InputError
        Where a single picture cannot be opened, or there is no model.
    """
    classifier = model if isinstance(model, Classifier) else _load(model)
    if isinstance(image, list | tuple) or (isinstance(image, np.ndarray) and image.ndim == 4):
        return classifier.classify_many(image)
    return classifier.classify(image)


def _load(model: str | os.PathLike[str] | None) -> Classifier:
    path = newest_model() if model is None else Path(model)
    try:
        status = path.stat()
    except OSError:
        return load_classifier(path)  # It says best what is wrong.
    return _load_once(path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _load_once(path: Path, changed: int, size: int) -> Classifier:
    """Load a file again only after it has changed."""
    return load_classifier(path)
