"""The manifest of a model file, and the model card written from it.

Every entry is checked, because the file may be untrusted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.decoding import Array, take_array
from skinmnist.text import printable, shown

#: Format version, incremented whenever older versions of this package cannot read newer files.
FORMAT = 2
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 256 * 2**10
#: Maximum side length of a model's input in pixels, and maximum number of classes.
MOST_SIDE, MOST_CLASSES = 256, 100
#: Maximum length of a class name in characters.
LONGEST_NAME = 60

#: Description of the conversion of a picture to a row in `skinmnist.datasets.images.pictures`.
PREPROCESSING = (
    "first frame, turned by its EXIF orientation, converted to 8-bit RGB (grey where there is one channel), "
    "resized to the shape with Pillow's LANCZOS filter; rows of height, width, channel"
)
#: Maximum number of list entries in a card, and of characters per entry.
_MOST, _LONGEST = 100, 400


class UnreadableError(ValueError):
    """Raised with a short reason if a file is not a model file; readers convert it to an `InputError`."""


def entry(mapping: Any, key: str) -> Any:
    """Return the value of a key, or raise an error if it is missing."""
    if not isinstance(mapping, Mapping) or key not in mapping:
        raise UnreadableError(f"its manifest has no {shown(key)}")
    return mapping[key]


def whole(value: Any, what: str, low: int, high: int) -> int:
    """Return an integer after checking that it is between two inclusive limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UnreadableError(f"its entry {what!r} is not a whole number from {low} to {high}")
    return value


def number(value: Any, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number after checking that it is between two inclusive limits."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise UnreadableError(f"its entry {what!r} is not a number from {low} to {high}")
    try:
        found = float(value)
    except OverflowError:  # JSON integers can be of any length.
        found = math.inf
    if not math.isfinite(found):
        raise UnreadableError(f"its entry {what!r} is not finite")
    return found


def flag(value: Any, what: str) -> bool:
    """Return a value after checking that it is a boolean."""
    if not isinstance(value, bool):
        raise UnreadableError(f"its entry {what!r} is neither true nor false")
    return value


def words(value: Any, what: str, longest: int = 200) -> str:
    """Return a string after checking that it is a single line of printable characters."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or printable(value, None) != value:
        raise UnreadableError(f"its entry {what!r} is not plain text of at most {longest} characters")
    return value


def several(value: Any, what: str, low: int, high: int) -> list[Any]:
    """Return a list after checking that its length is between two inclusive limits."""
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise UnreadableError(f"its entry {what!r} is not a list of {low} to {high} entries")
    return value


def one_of(value: Any, what: str, choices: Iterable[Any]) -> Any:
    """Return a value after checking that it is among the choices."""
    known = list(choices)
    if not any(value == choice and type(value) is type(choice) for choice in known):
        raise UnreadableError(f"its entry {what!r} is not one of {', '.join(map(str, known))}")
    return value


class Arrays:
    """The arrays of a model file. Each array can be taken once, and its type and shape are checked."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._left = dict(arrays)

    def floats(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.floating]:
        """Take an array of finite numbers; None in `shape` allows any length of at least 1."""
        values = self._take(name, "f", shape)
        if not np.isfinite(values).all():
            raise UnreadableError(f"its array {name} is not finite")
        return values

    def integers(self, name: str, shape: tuple[int | None, ...], high: int) -> npt.NDArray[np.intp]:
        """Take an array of integers from 0 to `high`, inclusive."""
        values = self._take(name, "iu", shape)
        if values.min() < 0 or values.max() > high:
            raise UnreadableError(f"its array {name} has values outside 0 to {high}")
        return values.astype(np.intp)

    def beginning(self, prefix: str) -> dict[str, Array]:
        """Take all arrays whose names start with a prefix, keyed by the remainder of the name."""
        names = [name for name in self._left if name.startswith(prefix)]
        return {name.removeprefix(prefix): self._left.pop(name) for name in names}

    def check_empty(self) -> None:
        """Check that no unused arrays remain."""
        if self._left:
            raise UnreadableError(f"it holds {shown(min(self._left))}, which its manifest does not use")

    def _take(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> Array:
        try:
            values = take_array(self._left, name, kinds, shape)
        except ValueError as error:
            raise UnreadableError(str(error)) from None
        if not values.size:
            raise UnreadableError(f"its array {name} is empty")
        return self._left.pop(name)


@dataclass(frozen=True)
class SetRule:
    """The rule of a model's conformal sets, which miss the right class in a share `alpha` of each class.

    A class is in the set of a picture if its probability reaches the class's threshold. The thresholds are
    calibrated on out-of-fold predictions for so many `pictures` of each class; 0 stands for too few, and puts
    the class into every set.
    """

    alpha: float
    thresholds: tuple[float, ...]
    pictures: tuple[int, ...]
    #: Names of the classes in every set.
    always: tuple[str, ...]

    @classmethod
    def read(cls, content: Any, class_names: Sequence[str]) -> SetRule | None:
        """Read the ``conformal`` entry of a manifest; None if the model has no sets."""
        if content is None:
            return None
        n_classes = len(class_names)
        thresholds = several(entry(content, "thresholds"), "thresholds", n_classes, n_classes)
        pictures = several(entry(content, "pictures"), "pictures", n_classes, n_classes)
        lowest = tuple(number(one, "thresholds", 0, 1) for one in thresholds)
        return cls(
            alpha=number(entry(content, "alpha"), "alpha", 1e-9, 0.5),
            thresholds=lowest,
            pictures=tuple(whole(one, "pictures", 0, 10**12) for one in pictures),
            always=tuple(name for name, low in zip(class_names, lowest, strict=True) if not low),
        )

    @property
    def promise(self) -> str:
        """What an answer does, for use after its name, and the classes that every answer includes."""
        words, (*others, last) = promise(1 - self.alpha), self.always or ("",)
        if not last:
            return words
        names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        return f"{words}; {names} in every answer, with too few pictures to calibrate"


def promise(coverage: float) -> str:
    """Return what a set of this coverage does, for use after its name.

    Examples
    --------
    >>> promise(0.9)
    'is meant to hold the right class in 90 of 100 pictures of each class'
    """
    return f"is meant to hold the right class in {round(100 * coverage, 6):g} of 100 pictures of each class"


@dataclass(frozen=True)
class Manifest:
    """Description of a model, its training data and its scores. Classes are in code order."""

    title: str
    model: str
    sampler: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    full_names: tuple[str, ...]
    #: Whether the model was trained on synthetic pictures.
    synthetic: bool
    #: Cross-validated mean and standard deviation by metric; empty if the model was not cross-validated.
    scores: dict[str, tuple[float, float]]
    #: The rule of its conformal sets; None if the model was not cross-validated.
    sets: SetRule | None
    #: The complete manifest as parsed from JSON.
    content: dict[str, Any]

    @classmethod
    def read(cls, encoded: bytes) -> Manifest:
        """Read a manifest; raise `UnreadableError` if it is invalid."""
        content = _parse(encoded)
        version = entry(content, "format")
        if version != FORMAT:
            named = version if isinstance(version, int) and abs(version) < 10**6 else "unknown"
            raise UnreadableError(f"its format is {named}, but this version of skinmnist reads {FORMAT}")
        height, width, channels = several(entry(content, "shape"), "shape", 3, 3)
        shape = (whole(height, "height", 2, MOST_SIDE), whole(width, "width", 2, MOST_SIDE))
        classes = several(entry(content, "classes"), "classes", 2, MOST_CLASSES)
        names = tuple(words(entry(one, "name"), "class name", LONGEST_NAME) for one in classes)
        if len(set(names)) != len(names):
            raise UnreadableError("two of its classes have the same name")
        return cls(
            title=words(entry(content, "title"), "title"),
            model=words(entry(content, "model"), "model"),
            sampler=words(entry(content, "sampler"), "sampler"),
            shape=(*shape, one_of(channels, "channels", (1, 3))),
            class_names=names,
            full_names=tuple(words(entry(one, "title"), "class title") for one in classes),
            synthetic=flag(entry(entry(content, "training"), "synthetic"), "synthetic"),
            scores=_scores(entry(content, "scores")),
            sets=SetRule.read(content.get("conformal"), names),
            content=content,
        )


def encode_manifest(content: Mapping[str, Any]) -> bytes:
    """Encode a manifest as human-readable JSON."""
    return (json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _parse(encoded: bytes) -> dict[str, Any]:
    if len(encoded) > MOST_MANIFEST_BYTES:
        raise UnreadableError(f"its manifest is longer than {MOST_MANIFEST_BYTES:,} bytes")
    try:
        content = json.loads(encoded.decode("ascii"))
    except (ValueError, RecursionError):
        raise UnreadableError("its manifest is not JSON") from None
    if not isinstance(content, dict):
        raise UnreadableError("its manifest is not a JSON object")
    return content


def _scores(content: Any) -> dict[str, tuple[float, float]]:
    if content is None:
        return {}
    metrics = entry(content, "metrics")
    if not isinstance(metrics, dict) or len(metrics) > 200:
        raise UnreadableError("its scores are not an object of at most 200 metrics")
    return {
        words(name, "name of a score", 60): (
            number(entry(one, "mean"), "score"),
            number(entry(one, "sd"), "spread of a score", 0),
        )
        for name, one in metrics.items()
    }


def card_of(manifest: Manifest) -> str:
    """Return the model card as Markdown with classes, data, scores, operating point and limitations."""
    return "\n".join(_lines(manifest))


def limits_of(description: dict[str, Any]) -> list[str]:
    """Return the limitations of a model, derived from the description stored in its manifest."""
    training, scores = description["training"], description["scores"]
    names, rows = [one["name"] for one in description["classes"]], training["rows_per_class"]
    height, width, _ = description["shape"]
    rarest = min(range(len(rows)), key=rows.__getitem__)
    limits = [
        f"It knows {len(names)} classes and no others: whatever a picture shows, it divides the "
        "probability among these.",
        f"It sees {height} x {width} pixels; finer structure is lost.",
        f"The rarest class, {names[rarest]}, has {rows[rarest]:,} training pictures of {sum(rows):,}.",
        "It was trained on one table; other cameras, skin types and patients may give other scores.",
    ]
    if training["synthetic"]:
        limits.append("Its training pictures are synthetic: its answers say nothing about real skin.")
    if scores is None:
        limits.append("It was not cross-validated, so it has no scores; use `skinmnist train --cv` for them.")
    else:
        metrics = scores["metrics"]
        recalls = {name: metrics[f"recall_{name}"]["mean"] for name in names if f"recall_{name}" in metrics}
        missed = [f"{name} ({recall:.2f})" for name, recall in recalls.items() if recall < 0.5]
        if missed:
            limits.append(f"It finds fewer than half of the held-out pictures of {', '.join(missed)}.")
    return limits


def _lines(manifest: Manifest) -> Iterator[str]:
    content = manifest.content
    training = _mapping(content.get("training"))
    height, width, channels = manifest.shape
    yield f"# Model card: {_text(manifest.title)}\n"
    yield f"{facts.DISCLAIMER}\n"
    yield f"- Model: `{_text(manifest.model)}`, sampler: `{_text(manifest.sampler)}`"
    yield f"- Input: pictures of {height} × {width} pixels, {channels} channel{'s' * (channels != 1)}"
    versions = _mapping(content.get("versions"))
    if "skinmnist" in versions:
        yield f"- Trained by skinmnist {_text(versions['skinmnist'])}, seed {_text(content.get('seed', '?'))}"
    yield "\n## Classes\n"
    rows = _sequence(training.get("rows_per_class"))
    yield "| class | name | training pictures |\n|---|---|---:|"
    for place, (name, title) in enumerate(zip(manifest.class_names, manifest.full_names, strict=True)):
        yield f"| {_text(name)} | {_text(title)} | {_amount(rows[place]) if place < len(rows) else ''} |"
    yield "\n## Training data\n"
    kind = "synthetic pictures, which show no patients" if manifest.synthetic else "pictures"
    yield f"- Table {_text(training.get('table', '?'))}: {_amount(training.get('rows'))} {kind}"
    if training.get("lesions") is not None:
        yield f"- Lesions: {_amount(training['lesions'])}"
    yield f"- SHA-256 of the content: `{_text(training.get('sha256', '?'))}`"
    if "licence" in content:
        yield f"- {_text(content['licence'])}"
    yield "\n## Scores\n"
    yield from _score_lines(manifest)
    yield "\n## Operating point\n"
    yield _text(content.get("operating_point", "The file does not say."))
    yield "\n## Sets of classes\n"
    yield from _set_lines(manifest)
    yield "\n## Limits\n"
    limits = _sequence(content.get("limits")) or ["The file does not say."]
    yield from (f"- {_text(limit)}" for limit in limits)
    notes = _sequence(content.get("notes"))
    if notes:
        yield "\n## Notes of the training\n"
        yield from (f"- {_text(note)}" for note in notes)
    yield ""


def _set_lines(manifest: Manifest) -> Iterator[str]:
    rule = manifest.sets
    if rule is None:
        yield "None: sets are calibrated by a cross-validation, which this model does not have."
        return
    yield "A class is in the set of a picture if its probability reaches the threshold. The set"
    yield f"{promise(1 - rule.alpha)}, by class-wise conformal prediction on"
    yield "out-of-fold predictions. The guarantee is approximate, because the thresholds come from the models"
    yield "of the folds, and does not hold for pictures unlike the training pictures.\n"
    yield "| class | threshold | calibrated on pictures |\n|---|---:|---:|"
    for name, threshold, pictures in zip(manifest.class_names, rule.thresholds, rule.pictures, strict=True):
        shown = f"{threshold:.4f}" if threshold else "none: in every set"
        yield f"| {_text(name)} | {shown} | {pictures:,} |"


def _score_lines(manifest: Manifest) -> Iterator[str]:
    if not manifest.scores:
        yield "None: the model was not cross-validated."
        return
    protocol = _mapping(_mapping(manifest.content.get("scores")).get("protocol"))
    folds, split = _text(protocol.get("folds", "?")), _text(protocol.get("split", "?"))
    yield f"Mean and standard deviation over {folds} folds of a cross-validation of the same training, split"
    yield f"by {split}.\n\n| score | mean | sd |\n|---|---:|---:|"
    for name, (mean, spread) in list(manifest.scores.items()):
        yield f"| {_text(name)} | {mean:.3f} | {spread:.3f} |"


def _text(value: object) -> str:
    """Remove terminal control characters and escape Markdown table syntax."""
    return printable(value, _LONGEST).replace("|", "\\|").replace("`", "'").replace("<", "\\<")


def _amount(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) < 10**12 else _text(value)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value[:_MOST] if isinstance(value, list) else []
