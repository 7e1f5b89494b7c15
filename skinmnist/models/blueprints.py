"""Networks and their training as data: the contents of a preset, validated before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from skinmnist.errors import InputError
from skinmnist.text import shown

#: Types of layers, with the additional keys that each accepts.
LAYER_KEYS = {
    "convolution": ("kernel", "padding"),
    "max_pool": (),
    "batch_norm": (),
    "dropout": (),
    "flatten": (),
    "dense": (),
}
#: The largest number allowed in a preset.
_MOST = 10**9
#: Layers that batch normalisation may follow.
NORMALISABLE = ("convolution", "max_pool", "dense")


@dataclass(frozen=True)
class Layer:
    """One layer of a network."""

    #: One of `LAYER_KEYS`.
    kind: str
    #: Number of filters of a convolution, pool size, dropout rate, or number of dense units; otherwise 1.
    value: float = 1.0
    #: Kernel size of a convolution, and its padding.
    kernel: int = 3
    padding: str = "valid"


@dataclass(frozen=True)
class Blueprint:
    """A stack of layers, followed by a dense softmax layer over the classes."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Augmentation:
    """Random transformations of pictures during training, implemented by Keras layers."""

    #: Largest rotation, in degrees.
    rotation: float = 0.0
    #: Maximum changes: zoom, shift and shear as shares of the size, brightness as a share of the pixel range.
    zoom: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    #: Empty, or one of horizontal, vertical and horizontal_and_vertical.
    flip: str = ""
    #: Transform only the copies made by a sampler and keep the originals: balancing with augmented copies.
    copies_only: bool = False


@dataclass(frozen=True)
class Training:
    """Training settings: Adam with sparse categorical cross-entropy."""

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    #: The validation metric that callbacks monitor: loss or accuracy.
    monitor: str = "loss"
    #: Epochs without improvement after which Keras's ``ReduceLROnPlateau`` multiplies the learning rate by
    #: `rate_factor`, and after which its ``EarlyStopping`` stops training and restores the best weights.
    rate_patience: int | None = None
    stop_patience: int | None = None
    rate_factor: float = 0.5

    @property
    def needs_validation(self) -> bool:
        """Whether training needs a validation set."""
        return self.rate_patience is not None or self.stop_patience is not None


def read_blueprint(layers: Sequence[Mapping[str, Any]], batch_norm_after: Sequence[str] = ()) -> Blueprint:
    """Parse the layers declared by a preset; raise InputError if they do not form a network.

    Each layer has exactly one key of `LAYER_KEYS`, such as ``{"convolution": 64, "kernel": 3, "padding":
    "same"}`` or ``{"flatten": True}``. Batch normalisation follows each layer of a type in
    `batch_norm_after`.
    """
    found: list[Layer] = []
    for number, declared in enumerate(layers, start=1):
        found.append(_read_layer(number, declared))
        if found[-1].kind in batch_norm_after:
            found.append(Layer("batch_norm"))
    unknown = [kind for kind in batch_norm_after if kind not in NORMALISABLE]
    if unknown:
        raise InputError(
            f"a network received batch_norm_after {shown(unknown[0])}; choose from {', '.join(NORMALISABLE)}"
        )
    kinds = [layer.kind for layer in found]
    behind = kinds[kinds.index("flatten") :] if "flatten" in kinds else []
    if kinds.count("flatten") != 1 or any(kind in ("convolution", "max_pool") for kind in behind):
        raise InputError(
            f"a network received the layers {', '.join(kinds) or 'none'}; expected exactly one flatten, "
            "convolutions and pools before it, and dense layers after it"
        )
    if "dense" in kinds[: kinds.index("flatten")]:
        raise InputError("a network received a dense layer before its flatten layer; put flatten before it")
    return Blueprint(tuple(found))


def _read_layer(number: int, declared: Mapping[str, Any]) -> Layer:
    kinds = [key for key in declared if key in LAYER_KEYS]
    if len(kinds) != 1:
        raise InputError(
            f"layer {number} of a network received the keys {', '.join(map(shown, declared)) or 'none'}; "
            f"expected exactly one of {', '.join(LAYER_KEYS)}"
        )
    kind = kinds[0]
    unknown = [key for key in declared if key != kind and key not in LAYER_KEYS[kind]]
    if unknown:
        allowed = ", ".join(LAYER_KEYS[kind]) or "no further key"
        raise InputError(f"layer {number} ({kind}) received the key {shown(unknown[0])}; it takes {allowed}")
    value, kernel, padding = declared[kind], declared.get("kernel", 3), declared.get("padding", "valid")
    fits = {
        "dropout": is_number(value) and value < 1,
        "flatten": value is True,
        "batch_norm": value is True,
    }.get(kind, _is_count(value))
    if not fits or not _is_count(kernel) or padding not in ("valid", "same"):
        raise InputError(
            f"layer {number} ({kind}) received {shown(dict(declared))}; expected whole numbers of at least "
            "1, a share below 1 for dropout, true for flatten and batch_norm, and padding 'valid' or 'same'"
        )
    return Layer(kind, float(value), kernel, padding)


def read_fields(kind: type[Any], where: str, declared: Mapping[str, Any]) -> Any:
    """Build a frozen dataclass from a preset table; raise InputError for unknown keys and wrong types."""
    names = {field.name: field for field in fields(kind)}
    for key, value in declared.items():
        if key not in names:
            raise InputError(f"{where} received the key {shown(key)}; valid keys are {', '.join(names)}")
        fits, expected = _FIELD_TYPES[str(names[key].type)]
        if not fits(value):
            raise InputError(f"{where} received {key} = {shown(value)}; expected {expected}")
    return kind(**declared)


def is_number(value: object) -> bool:
    """Return whether a value is a finite, non-negative number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MOST


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


_COUNT = f"a whole number of at least 1 and at most {_MOST:,}"
_NUMBER = f"a number of at least 0 and at most {_MOST:,}"
#: The validator of each field type, and the expectation stated in its error.
_FIELD_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "int": (_is_count, _COUNT),
    "float": (is_number, _NUMBER),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "str": (lambda value: isinstance(value, str), "a text"),
    "int | None": (_is_count, f"{_COUNT}, or no such key"),
    "tuple[str, ...]": (_is_texts, "a list of texts"),
}
