"""The manifest of a model file: what it is, what it learnt from, what it may claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skinmnist.inference.checks import UnreadableError, entry, flag, number, one_of, several, whole, words

#: Changes whenever an older version of this package could not read what a newer one writes.
FORMAT = 1
MANIFEST = "manifest.json"
MOST_BYTES = 256 * 2**10
#: Pixels along a side of a picture as a model sees it, and classes.
MOST_SIDE, MOST_CLASSES = 256, 100
#: Signs of a class's name.
LONGEST_NAME = 60

#: How a picture becomes a row, in words; `skinmnist.datasets.images.pictures` does it.
PREPROCESSING = (
    "first frame, turned by its EXIF orientation, converted to 8-bit RGB (grey where there is one channel), "
    "resized to the shape with Pillow's LANCZOS filter; rows of height, width, channel"
)


@dataclass(frozen=True)
class Manifest:
    """What everybody should know of a model.

    Attributes
    ----------
    title : str
        Such as ``"Convolutional network"``.
    model, sampler : str
        Names in the registries.
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    class_names, full_names : tuple of str
        In code order.
    synthetic : bool
        Whether it was trained on pictures that were drawn.
    scores : dict of str to (float, float)
        Mean and standard deviation over the folds of a cross-validation, by metric; empty where there was
        none.
    content : dict
        The whole manifest, as JSON has it.
    """

    title: str
    model: str
    sampler: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    full_names: tuple[str, ...]
    synthetic: bool
    scores: dict[str, tuple[float, float]]
    content: dict[str, Any]

    @classmethod
    def read(cls, encoded: bytes) -> Manifest:
        """Read a manifest.

        Raises
        ------
        UnreadableError
            Where it is none.
        """
        content = _parse(encoded)
        version = entry(content, "format")
        if version != FORMAT:
            shown = version if isinstance(version, int) and abs(version) < 10**6 else "an unknown one"
            raise UnreadableError(f"its format is {shown}, and this version of skinmnist reads {FORMAT}")
        height, width, channels = several(entry(content, "shape"), "shape", 3, 3)
        shape = (whole(height, "height", 2, MOST_SIDE), whole(width, "width", 2, MOST_SIDE))
        classes = several(entry(content, "classes"), "classes", 2, MOST_CLASSES)
        names = tuple(words(entry(one, "name"), "class name", LONGEST_NAME) for one in classes)
        if len(set(names)) != len(names):
            raise UnreadableError("two of its classes have one name")
        return cls(
            title=words(entry(content, "title"), "title"),
            model=words(entry(content, "model"), "model"),
            sampler=words(entry(content, "sampler"), "sampler"),
            shape=(*shape, one_of(channels, "channels", (1, 3))),
            class_names=names,
            full_names=tuple(words(entry(one, "title"), "class title") for one in classes),
            synthetic=flag(entry(entry(content, "training"), "synthetic"), "entry synthetic"),
            scores=_scores(entry(content, "scores")),
            content=content,
        )


def encode_manifest(content: Mapping[str, Any]) -> bytes:
    """Write a manifest as JSON that people can read."""
    return (json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _parse(encoded: bytes) -> dict[str, Any]:
    if len(encoded) > MOST_BYTES:
        raise UnreadableError(f"its manifest is longer than {MOST_BYTES:,} bytes")
    try:
        content = json.loads(encoded.decode("ascii"))
    except (ValueError, RecursionError):
        raise UnreadableError("its manifest is no JSON") from None
    if not isinstance(content, dict):
        raise UnreadableError("its manifest is no list of entries")
    return content


def _scores(content: Any) -> dict[str, tuple[float, float]]:
    if content is None:
        return {}
    metrics = entry(content, "metrics")
    if not isinstance(metrics, dict) or len(metrics) > 200:
        raise UnreadableError("its scores are none")
    return {
        words(name, "name of a score", 60): (
            number(entry(one, "mean"), "score"),
            number(entry(one, "sd"), "spread of a score", 0),
        )
        for name, one in metrics.items()
    }
