"""Classify pictures with a trained model."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import as_path, read_head
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.decisions.probabilities import conformal_sets
from skinmnist.errors import InputError
from skinmnist.inference.manifest import SetRule, card_of
from skinmnist.inference.model_file import ModelFile, is_model, newest_model, read_model
from skinmnist.inference.novelty import novelty_score
from skinmnist.inference.prediction import Prediction, draw_explanation, occlusion_map

#: Number of pictures opened and classified per batch.
CHUNK_PICTURES = 256

SYNTHETIC_WARNING = "The model was trained on synthetic pictures; its answers say nothing about real skin."


class Classifier:
    """A trained model loaded from a file.

    Parameters
    ----------
    model : ModelFile
        The decoded model file.

    Attributes
    ----------
    manifest : Manifest
        Description of the model, its training data and its cross-validated scores.
    title : str
        Name of the model type.
    shape : tuple of int
        ``(height, width, channels)`` of the model's input pictures.
    class_names, full_names : tuple of str
        Short and full names of the classes, in code order.

    See Also
    --------
    load_classifier : Load a model file.
    classify_image : Classify pictures in one call.

    Examples
    --------
    >>> from skinmnist import load_classifier, make_lesions, train_model
    >>> table = make_lesions(120, size=8)
    >>> train_model(table, "dummy").save("lesions.skm")
    >>> classifier = load_classifier("lesions.skm")
    >>> classifier.shape
    (8, 8, 3)
    >>> classifier.class_names
    ('akiec', 'bcc', 'bkl', 'df', 'nv', 'vasc', 'mel')
    >>> [line for line in classifier.card().splitlines() if line.startswith("## ")][:3]
    ['## Classes', '## Training data', '## Scores']
    """

    def __init__(self, model: ModelFile) -> None:
        self._model = model
        self.manifest = model.manifest
        self.title = model.manifest.title
        self.shape = model.manifest.shape
        self.class_names = model.manifest.class_names
        self.full_names = model.manifest.full_names

    def __repr__(self) -> str:
        height, width, channels = self.shape
        classes = ", ".join(self.class_names)
        return f"<Classifier: {self.title}, {height} x {width} x {channels}, {classes}>"

    def card(self) -> str:
        """Return the model card as Markdown with classes, data, scores, operating point and limitations."""
        return card_of(self.manifest)

    def predict_proba(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Predict class probabilities.

        Parameters
        ----------
        rows : ndarray of shape (n, height * width * channels), uint8
            Pixel rows in the layout of a pixel table.

        Returns
        -------
        ndarray of shape (n, k), float64
            Class probabilities. Columns are in code order, and each row sums to 1.

        Raises
        ------
        InputError
            If the rows have the wrong length or type.

        Examples
        --------
        >>> classifier.predict_proba(table.pixels[:2]).shape
        (2, 7)
        """
        rows = np.asarray(rows)
        length = int(np.prod(self.shape))
        if rows.ndim != 2 or rows.shape[1] != length or rows.dtype != np.uint8:
            raise InputError(
                f"the model received rows of shape {rows.shape} and type {rows.dtype}; expected "
                f"(n, {length}) of uint8, unscaled pixels"
            )
        return self._model.answer(rows) if len(rows) else np.empty((0, len(self.class_names)))

    def classify(self, image: Any) -> Prediction:
        """Classify one picture.

        Parameters
        ----------
        image : path, bytes, PIL.Image.Image or ndarray
            See `skinmnist.datasets.images.pictures.open_picture`.

        Raises
        ------
        InputError
            If the picture cannot be opened.

        Examples
        --------
        >>> classifier.classify(table.pixels[0].reshape(table.shape)).label
        'nv'
        """
        return self._predictions(self._row(image)[None])[0]

    def classify_many(self, images: Iterable[Any]) -> list[Prediction | InputError]:
        """Classify several pictures; a picture that cannot be opened yields an `InputError` in the list.

        Examples
        --------
        >>> answers = classifier.classify_many([table.pixels[0].reshape(table.shape), b"no picture"])
        >>> [type(answer).__name__ for answer in answers]
        ['Prediction', 'InputError']
        """
        results: list[Prediction | InputError] = []
        waiting = iter(images)
        while chunk := [self._row_or_error(image) for image in itertools.islice(waiting, CHUNK_PICTURES)]:
            rows = [one for one in chunk if not isinstance(one, InputError)]
            answers = iter(self._predictions(np.stack(rows)) if rows else [])
            results += [one if isinstance(one, InputError) else next(answers) for one in chunk]
        return results

    def explain(self, image: Any) -> npt.NDArray[np.float64]:
        """Return the support of each region of a picture for the predicted class.

        Returns
        -------
        ndarray of shape (height, width), float64
            Decrease in the probability of the predicted class when a patch around each pixel is covered;
            negative values indicate an increase. See `skinmnist.inference.prediction.occlusion_map`.

        Examples
        --------
        >>> classifier.explain(table.pixels[0].reshape(table.shape)).shape
        (8, 8)
        """
        return occlusion_map(self.predict_proba, self._row(image), self.shape)

    def explain_picture(self, image: Any) -> bytes:
        """Return the map computed by `explain` as a PNG, drawn over the enlarged picture.

        Examples
        --------
        >>> classifier.explain_picture(table.pixels[0].reshape(table.shape))[1:4]
        b'PNG'
        """
        row = self._row(image)
        return draw_explanation(row.reshape(self.shape), occlusion_map(self.predict_proba, row, self.shape))

    def _row(self, image: Any) -> npt.NDArray[np.uint8]:
        return picture_row(open_picture(image), self.shape)

    def _row_or_error(self, image: Any) -> npt.NDArray[np.uint8] | InputError:
        try:
            return self._row(image)
        except InputError as error:
            return error

    def _predictions(self, rows: npt.NDArray[np.uint8]) -> list[Prediction]:
        probabilities = self.predict_proba(rows)
        arrays = self._model.novelty
        scores = novelty_score(rows, self.shape, arrays) if arrays else [None] * len(rows)
        return [self._prediction(*one) for one in zip(rows, probabilities, scores, strict=True)]

    def _prediction(
        self, row: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float64], novelty: float | None
    ) -> Prediction:
        best = int(probabilities.argmax())
        rule = self.manifest.sets
        warnings = [SYNTHETIC_WARNING] if self.manifest.synthetic else []
        if novelty is not None and novelty > 1:
            warnings.append(
                f"The picture is unlike those the model was trained on (novelty score "
                f"{max(novelty, 1.01):.2f}; the limit is 1). Do not rely on the answer."
            )
        return Prediction(
            label=self.class_names[best],
            name=self.full_names[best],
            probability=float(probabilities[best]),
            probabilities=dict(zip(self.class_names, probabilities.tolist(), strict=True)),
            full_names=dict(zip(self.class_names, self.full_names, strict=True)),
            warnings=tuple(warnings),
            novelty_score=None if novelty is None else float(novelty),
            pixels=row.reshape(self.shape),
            conformal_set=() if rule is None else self._conformal_set(probabilities, rule),
            coverage=None if rule is None else 1 - rule.alpha,
        )

    def _conformal_set(self, probabilities: npt.NDArray[np.float64], rule: SetRule) -> tuple[str, ...]:
        [inside] = conformal_sets(probabilities[None], np.array(rule.thresholds))
        return tuple(name for name, held in zip(self.class_names, inside, strict=True) if held)


def load_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Load a model file written by `skinmnist train`.

    Loading never executes code from the file. Any other type of file is rejected.

    Raises
    ------
    InputError
        If the file is damaged, or is not a model file supported by this version.

    See Also
    --------
    train_model : Train a model and save its file.
    classify_image : Classify pictures in one call.

    Examples
    --------
    >>> from skinmnist import load_classifier, make_lesions, train_model
    >>> train_model(make_lesions(120, size=8), "dummy").save("lesions.skm")
    >>> load_classifier("lesions.skm").title
    'Class frequencies only'
    """
    return Classifier(read_model(path))


def classify_image(
    image: Any, model: str | os.PathLike[str] | Classifier | None = None
) -> Prediction | list[Prediction | InputError]:
    """Classify one or more pictures. A prediction is not a diagnosis.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image, ndarray, or a list or tuple of these
        A picture of any size. Arrays must be uint8, RGB or grey; an array with four axes contains several
        pictures.
    model : path or Classifier, optional
        Defaults to the newest file in the user's model folder, which ``SKINMNIST_MODELS`` overrides.

    Returns
    -------
    Prediction or list
        A list if there are several pictures, with an `InputError` for each picture that cannot be opened.

    Raises
    ------
    InputError
        If a single picture cannot be opened, or no model is found.

    See Also
    --------
    load_classifier : Load a model file once to classify many pictures.

    Examples
    --------
    >>> from skinmnist import classify_image, make_lesions, train_model
    >>> table = make_lesions(120, size=8)
    >>> train_model(table, "dummy").save("lesions.skm")
    >>> classify_image(table.pixels[0].reshape(table.shape), "lesions.skm").name
    'Melanocytic nevus'
    """
    if isinstance(image, Classifier) or _is_model_file(image):
        raise InputError(
            "received a model as the picture; the picture comes first: classify_image(picture, model)"
        )
    classifier = model if isinstance(model, Classifier) else _load(model)
    if isinstance(image, list | tuple) or (isinstance(image, np.ndarray) and image.ndim == 4):
        return classifier.classify_many(image)
    return classifier.classify(image)


def _is_model_file(image: Any) -> bool:
    """Return whether a path is a model file, based on its first bytes; False for any other object."""
    return isinstance(image, str | os.PathLike) and is_model(read_head(Path(image)))


def _load(model: str | os.PathLike[str] | None) -> Classifier:
    path = newest_model() if model is None else as_path(model, "the path of a model file, or a Classifier")
    try:
        status = path.stat()
    except OSError:
        return load_classifier(path)  # Raises an error that explains the problem.
    return _load_once(path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _load_once(path: Path, changed: int, size: int) -> Classifier:
    """Load a model file, and cache the result until the file changes."""
    return load_classifier(path)
