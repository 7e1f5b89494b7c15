"""A trained model at work: pictures in, predictions out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.errors import InputError
from skinmnist.inference.model_file import ModelFile, read_model
from skinmnist.inference.novelty import novelty_score
from skinmnist.inference.occlusion import draw_explanation, occlusion_map
from skinmnist.inference.predicted import Prediction

#: Pictures that are opened before they are looked at together.
CHUNK_PICTURES = 256

SYNTHETIC_WARNING = (
    "The model was trained on pictures that skinmnist has drawn: its answers say nothing about real skin."
)


class Classifier:
    """A model that was read from its file.

    Parameters
    ----------
    model : ModelFile

    Attributes
    ----------
    manifest : Manifest
        What the model is, what it learnt from and what it may claim.
    """

    def __init__(self, model: ModelFile) -> None:
        self._model = model
        self.manifest = model.manifest

    def __repr__(self) -> str:
        height, width, channels = self.shape
        classes = ", ".join(self.class_names)
        return f"<Classifier: {self.title}, {height} x {width} x {channels}, {classes}>"

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of a picture as the model sees it."""
        return self.manifest.shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """Short names of the classes, in code order."""
        return self.manifest.class_names

    @property
    def full_names(self) -> tuple[str, ...]:
        """Full names of the classes, in code order."""
        return self.manifest.full_names

    @property
    def title(self) -> str:
        """What kind of model it is."""
        return self.manifest.title

    def predict_proba(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        rows : ndarray of shape (n, height * width * channels), uint8
            Pixel rows, as a pixel table has them.

        Returns
        -------
        ndarray of shape (n, k), float64
            Rows sum to 1, columns in code order.

        Raises
        ------
        InputError
            Where rows have another length or type.
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
            Where it is no picture that can be opened.
        """
        return self._predictions(picture_row(open_picture(image), self.shape)[None])[0]

    def classify_many(self, images: Iterable[Any]) -> list[Prediction | InputError]:
        """Classify pictures; in place of one that cannot be opened stands the error that says why."""
        found: list[Prediction | InputError] = []
        pending: list[npt.NDArray[np.uint8]] = []
        places: list[int] = []

        def answer() -> None:
            if pending:
                for place, prediction in zip(places, self._predictions(np.stack(pending)), strict=True):
                    found[place] = prediction
            pending.clear()
            places.clear()

        for place, image in enumerate(images):
            try:
                row = picture_row(open_picture(image), self.shape)
            except InputError as error:
                found.append(error)
                continue
            found.append(InputError("not yet answered"))
            pending.append(row)
            places.append(place)
            if len(pending) == CHUNK_PICTURES:
                answer()
        answer()
        return found

    def explain(self, image: Any) -> npt.NDArray[np.float64]:
        """Tell which parts of a picture speak for the answer.

        Returns
        -------
        ndarray of shape (height, width), float64
            How much the answer's probability falls where a patch around each pixel is covered; negative where
            it rises. See `skinmnist.inference.occlusion.occlusion_map`.
        """
        row = picture_row(open_picture(image), self.shape)
        return occlusion_map(self.predict_proba, row, self.shape)

    def explain_picture(self, image: Any) -> bytes:
        """Return the map of `explain` over the enlarged picture, as PNG."""
        row = picture_row(open_picture(image), self.shape)
        return draw_explanation(row.reshape(self.shape), occlusion_map(self.predict_proba, row, self.shape))

    def _predictions(self, rows: npt.NDArray[np.uint8]) -> list[Prediction]:
        probabilities = self.predict_proba(rows)
        arrays = self._model.unfamiliar
        strange = novelty_score(rows, self.shape, arrays) if arrays else [None] * len(rows)
        return [self._prediction(*one) for one in zip(rows, probabilities, strange, strict=True)]

    def _prediction(
        self, row: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float64], strange: float | None
    ) -> Prediction:
        best = int(probabilities.argmax())
        warnings = [SYNTHETIC_WARNING] if self.manifest.synthetic else []
        if strange is not None and strange > 1:
            warnings.append(
                f"The picture is unlike those that the model learnt from (unfamiliarity "
                f"{max(strange, 1.01):.2f}, where 1 is the limit): do not rely on the answer."
            )
        return Prediction(
            label=self.class_names[best],
            name=self.full_names[best],
            probability=float(probabilities[best]),
            probabilities=dict(zip(self.class_names, probabilities.tolist(), strict=True)),
            full_names=dict(zip(self.class_names, self.full_names, strict=True)),
            warnings=tuple(warnings),
            novelty_score=None if strange is None else float(strange),
            pixels=row.reshape(self.shape),
        )


def load_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Read a model file that `python -m skinmnist.train` has written.

    Nothing that came with the file is executed; what is not exactly such a file is refused.

    Raises
    ------
    InputError
        Where it is no model file that this version can read, or is damaged.
    """
    return Classifier(read_model(path))
