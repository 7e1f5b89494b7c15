"""The prediction for one picture, and its explanation by occlusion.

An occlusion map covers one region of a picture at a time to find the regions that support a prediction
(Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014).
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.features.image_ops import Shape
from skinmnist.inference.manifest import promise

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

#: Number of patches along the shorter side; each overlaps its neighbours by half.
PATCHES = 6
#: Minimum length of the longer side of a drawn map in pixels.
LEAST_MAP_SIDE = 448
#: Colours of regions that support the prediction and of regions that contradict it.
FOR, AGAINST = (214, 40, 40), (38, 84, 205)
#: Maximum opacity of the colours.
MOST_COVER = 0.65
#: PNG keyword and text that distinguish a drawn map from the user's pictures.
_WRITTEN_BY = ("Software", "skinmnist")
#: A prediction is decided if its probability exceeds that of every other class by more than this factor.
DECIDED = 2.0
#: Maximum number of classes named in an undecided answer; further classes are only counted.
NAMED = 3
OUT_OF_DISTRIBUTION = "out of distribution"
#: Start of the sentence on conformal sets, which the promise of a set completes.
SETS = "Each answer, of one class or several,"


@dataclass(frozen=True, eq=False)
class Prediction:
    """Prediction of a model for one picture. It is not a diagnosis.

    Its `candidates` are the classes that cannot be ruled out. If the model was cross-validated, they are a
    conformal set, which holds the right class in a given share of the pictures of each class; otherwise, they
    are the classes at least half as probable as the most probable class. A prediction with several candidates
    is *undecided*. It is *out of distribution* if the picture is unlike nearly all training pictures.

    Attributes
    ----------
    label : str
        Short name of the most probable class, such as ``"nv"``.
    name : str
        Full name of the most probable class.
    probability : float
        Probability of the most probable class.
    probabilities : dict of str to float
        Probability of each class by short name, in code order. The values sum to 1.
    full_names : dict of str to str
        Full name of each class by short name.
    warnings : tuple of str
        Reasons to doubt the prediction, one sentence each.
    novelty_score : float or None
        Dissimilarity of the picture to the training pictures. A score above 1 means that the picture differs
        more than nearly all training pictures do. None if the model has no novelty score.
    pixels : ndarray of shape (height, width, channels), uint8
        Input of the model after preprocessing.
    notice : str
        The disclaimer: skinmnist is not a medical device.
    conformal_set : tuple of str
        Short names of the classes in the conformal set, in code order; empty if the model has no sets.
    coverage : float or None
        The share of the pictures of each class whose set holds the right class, such as 0.9.

    See Also
    --------
    classify_image : Classify pictures and return predictions.

    Examples
    --------
    >>> import numpy as np
    >>> from skinmnist import Prediction
    >>> names = {"bcc": "Basal cell carcinoma", "df": "Dermatofibroma", "nv": "Melanocytic nevus"}
    >>> shares = {"bcc": 0.45, "df": 0.40, "nv": 0.15}
    >>> pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    >>> prediction = Prediction("bcc", names["bcc"], 0.45, shares, names, (), 0.8, pixels)
    >>> prediction.candidates
    ('bcc', 'df')
    >>> prediction.answer
    'undecided: basal cell carcinoma or dermatofibroma'
    """

    label: str
    name: str
    probability: float
    probabilities: dict[str, float]
    full_names: dict[str, str]
    warnings: tuple[str, ...]
    novelty_score: float | None
    pixels: npt.NDArray[np.uint8]
    notice: str = facts.DISCLAIMER
    conformal_set: tuple[str, ...] = ()
    coverage: float | None = None

    @property
    def candidates(self) -> tuple[str, ...]:
        """Short names of the classes that cannot be ruled out, most probable first.

        They are those of the conformal set; if the model has no sets, those at least half as probable as the
        top class.
        """
        ordered = self.top(len(self.probabilities))
        if self.conformal_set:
            return tuple(label for label, _ in ordered if label in self.conformal_set)
        return tuple(label for label, share in ordered if share * DECIDED >= self.probability)

    @property
    def promise(self) -> str:
        """What the conformal set does: ``"is meant to hold the right class ..."``; empty without a set."""
        return promise(self.coverage) if self.conformal_set and self.coverage is not None else ""

    @property
    def undecided(self) -> bool:
        """Whether the prediction has more than one candidate class."""
        return len(self.candidates) > 1

    @property
    def out_of_distribution(self) -> bool:
        """Whether the novelty score of the picture exceeds 1."""
        return self.novelty_score is not None and self.novelty_score > 1

    @property
    def answer(self) -> str:
        """The prediction in words: a class name, its candidates, or ``"out of distribution"``.

        Several candidates are ``"one of: ..."`` if they are a conformal set, else ``"undecided: ..."``.
        """
        if self.out_of_distribution:
            return OUT_OF_DISTRIBUTION
        names = [self.full_names[label] for label in self.candidates]
        if len(names) == 1:
            return names[0]
        further = len(names) - NAMED
        listed = [_in_a_sentence(name) for name in names[:NAMED]]
        if further > 0:
            listed.append("1 other" if further == 1 else f"{further} others")
        start = "one of" if self.conformal_set else "undecided"
        return f"{start}: {', '.join(listed[:-1])} or {listed[-1]}"

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the `k` most probable classes with their probabilities, most probable first.

        Examples
        --------
        >>> [name for name, share in prediction.top(2)]
        ['bcc', 'df']
        """
        ordered = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return ordered[: max(k, 0)]

    def to_dict(self, k: int | None = None) -> dict[str, Any]:
        """Return a JSON-serializable dict without the pixels; `k` adds the ``top`` k classes.

        Examples
        --------
        >>> prediction.to_dict()["candidates"]
        ['bcc', 'df']
        """
        content: dict[str, Any] = {
            "answer": self.answer,
            "undecided": self.undecided,
            "candidates": list(self.candidates),
            "set": self._set_to_dict(),
            "label": self.label,
            "name": self.name,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "warnings": list(self.warnings),
            "unfamiliarity": self.novelty_score,
            "notice": self.notice,
        }
        if k is not None:
            content["top"] = [{"label": label, "probability": share} for label, share in self.top(k)]
        return content

    def _set_to_dict(self) -> dict[str, Any] | None:
        if not self.promise:
            return None
        return {"classes": list(self.candidates), "coverage": self.coverage, "meaning": self.promise}

    def __repr__(self) -> str:
        decided = not (self.undecided or self.out_of_distribution)
        lines = [
            f"<Prediction: {self.answer}" + (f" ({self.label}), {self.probability:.1%}" if decided else "")
        ]
        lines += [f"  {SETS} {self.promise}"] * bool(self.promise)
        lines += [f"  {label:<8} {share:6.1%}" for label, share in self.top(len(self.probabilities))]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"  {self.notice}>"])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(self.full_names[label])} ({html.escape(label)})</td>"
            f"<td style='text-align:right'>{share:.1%}</td><td style='width:12em'>"
            f"<div style='background:#4a6fa5;height:.8em;width:{100 * share:.1f}%'></div></td></tr>"
            for label, share in self.top(len(self.probabilities))
        )
        # Bars are greyed out, because the picture may not belong to any of these classes.
        faded = " style='opacity:.45'" if self.out_of_distribution else ""
        warnings = "".join(f"<p><b>Warning:</b> {html.escape(one)}</p>" for one in self.warnings)
        return (
            f"<p><b>{html.escape(self.answer)}</b></p>{warnings}<table{faded}>{rows}</table>"
            + (f"<p><small>{SETS} {self.promise}.</small></p>" if self.promise else "")
            + f"<p><small>{html.escape(self.notice)}</small></p>"
        )


def _in_a_sentence(name: str) -> str:
    """Lowercase the first letter of a class title of this package; user-defined names stay unchanged."""
    return name[0].lower() + name[1:] if name in facts.CLASS_TITLES.values() else name


def occlusion_map(predict_proba: Callable[[Pixels], Floats], row: Pixels, shape: Shape) -> Floats:
    """Measure the decrease in the predicted class's probability when patches are covered with skin colour.

    Returns the weighted mean decrease over the patches that cover each pixel, shape (height, width); patches
    centred near the pixel have larger weights. Negative values indicate an increase in probability.
    """
    picture = row.reshape(shape)
    boxes = _boxes(shape)
    covered = np.repeat(picture[None], len(boxes), axis=0)
    skin = _border_colour(picture)
    for one, (rows, columns) in zip(covered, boxes, strict=True):
        one[rows, columns] = skin
    probabilities = predict_proba(np.concatenate([row[None], covered.reshape(len(boxes), -1)]))
    answer = probabilities[0].argmax()
    falls = probabilities[0, answer] - probabilities[1:, answer]
    total, count = np.zeros(shape[:2]), np.zeros(shape[:2])
    side = boxes[0][0].stop
    tent = 1 - np.abs(np.arange(side) + 0.5 - side / 2) / (side / 2)
    for fall, box in zip(falls, boxes, strict=True):
        total[box] += fall * np.outer(tent, tent)
        count[box] += np.outer(tent, tent)
    return total / count


def draw_explanation(picture: Pixels, importance: Floats) -> bytes:
    """Draw a map of shape (height, width) over the enlarged picture and return it as a PNG.

    Red regions support the prediction; blue regions contradict it.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    height, width = importance.shape
    scale = -(-LEAST_MAP_SIDE // max(height, width))
    size = (width * scale, height * scale)
    colours = np.repeat(picture, 3 // picture.shape[2], axis=2)
    below = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.NEAREST), dtype=np.float64)
    strength = importance / max(np.abs(importance).max(), 1e-9)
    smooth = Image.fromarray(strength.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth, dtype=np.float64), -1, 1)[:, :, None]
    cover = MOST_COVER * np.abs(heat)
    blended = (1 - cover) * below + cover * np.where(heat > 0, FOR, AGAINST)
    written_by = PngInfo()
    written_by.add_text(*_WRITTEN_BY)
    stream = io.BytesIO()
    Image.fromarray(np.rint(blended).astype(np.uint8)).save(stream, "PNG", pnginfo=written_by)
    return stream.getvalue()


def is_explanation(head: bytes) -> bool:
    """Return whether the first bytes of a file identify it as a map drawn by `draw_explanation`."""
    return head.startswith(b"\x89PNG") and b"tEXt" + "\0".join(_WRITTEN_BY).encode() in head


def _boxes(shape: Shape) -> list[tuple[slice, slice]]:
    """Return overlapping patches as row and column slices that together cover every pixel."""
    side = max(2, min(shape[:2]) // PATCHES * 2)
    step = side // 2
    starts = [[*range(0, max(length - side, 0), step), max(length - side, 0)] for length in shape[:2]]
    return [(slice(top, top + side), slice(left, left + side)) for top in starts[0] for left in starts[1]]


def _border_colour(picture: Pixels) -> Pixels:
    """Return the median colour of the border pixels, which usually show skin in dermoscopic pictures."""
    border = np.ones(picture.shape[:2], dtype=bool)
    border[1:-1, 1:-1] = False
    return np.asarray(np.median(picture[border], axis=0)).astype(np.uint8)
