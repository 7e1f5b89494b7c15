"""Networks and their training as data: what a preset declares, checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from skinmnist.errors import InputError
from skinmnist.text import shown

#: What a layer is called, and the further keys that it takes beside its own.
LAYER_KEYS = {
    "convolution": ("kernel", "padding"),
    "max_pool": (),
    "batch_norm": (),
    "dropout": (),
    "flatten": (),
    "dense": (),
}
#: What no number of a preset is above: whoever writes more has no use for it.
_MOST = 10**9
#: The layers that batch normalisation may be put behind.
NORMALISABLE = ("convolution", "max_pool", "dense")


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes
    ----------
    kind : str
        One of `LAYER_KEYS`.
    value : float
        Filters of a convolution, side of a pool, share of a dropout, units of a dense layer; else 1.
    kernel : int
        Side of a convolution's kernel.
    padding : {"valid", "same"}
        Of a convolution.
    """

    kind: str
    value: float = 1.0
    kernel: int = 3
    padding: str = "valid"


@dataclass(frozen=True)
class Blueprint:
    """A stack of layers; the dense softmax layer over the classes comes behind the last of them.

    Attributes
    ----------
    layers : tuple of Layer
    """

    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Augmentation:
    """How pictures are changed at random in training, as Keras' own layers do it.

    Attributes
    ----------
    rotation : float
        Largest turn, in degrees.
    zoom, shift, shear, brightness : float
        Largest change, as a share: of the size, of the sides, of the sides, of the range of a pixel.
    flip : {"", "horizontal", "vertical", "horizontal_and_vertical"}
    copies_only : bool
        Change only the copies that a sampler drew, and leave every first picture as it is: the balancing by
        augmented copies.
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    flip: str = ""
    copies_only: bool = False


@dataclass(frozen=True)
class Training:
    """How a network is trained: Adam on the sparse categorical cross-entropy.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate : float
    monitor : {"loss", "accuracy"}
        What the callbacks monitor on the validation set.
    rate_patience, stop_patience : int or None
        Epochs without a better value after which Keras' ``ReduceLROnPlateau`` multiplies the learning rate
        by `rate_factor`, and after which its ``EarlyStopping`` ends the run with the best weights.
    rate_factor : float
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    monitor: str = "loss"
    rate_patience: int | None = None
    stop_patience: int | None = None
    rate_factor: float = 0.5

    @property
    def watches(self) -> bool:
        """Whether rows that are not trained on are needed."""
        return self.rate_patience is not None or self.stop_patience is not None


def read_blueprint(layers: Sequence[Mapping[str, Any]], batch_norm_after: Sequence[str] = ()) -> Blueprint:
    """Read the layers that a preset declares.

    Parameters
    ----------
    layers : sequence of mapping
        Each with exactly one key of `LAYER_KEYS`, such as ``{"convolution": 64, "kernel": 3, "padding":
        "same"}`` or ``{"flatten": True}``.
    batch_norm_after : sequence of str
        Kinds of layers, of `NORMALISABLE`, behind each of which batch normalisation is put.

    Raises
    ------
    InputError
        Where a layer has an unknown key, more than one kind or none, or a value out of its range; where the
        dense layers do not follow a ``flatten``.
    """
    found: list[Layer] = []
    for number, declared in enumerate(layers, start=1):
        found.append(_read_layer(number, declared))
        if found[-1].kind in batch_norm_after:
            found.append(Layer("batch_norm"))
    unknown = [kind for kind in batch_norm_after if kind not in NORMALISABLE]
    if unknown:
        raise InputError(
            f"a network received batch_norm_after {shown(unknown[0])}; choose of {', '.join(NORMALISABLE)}"
        )
    kinds = [layer.kind for layer in found]
    behind = kinds[kinds.index("flatten") :] if "flatten" in kinds else []
    if kinds.count("flatten") != 1 or any(kind in ("convolution", "max_pool") for kind in behind):
        raise InputError(
            f"a network received the layers {', '.join(kinds) or 'none'}; expected exactly one flatten, "
            "convolutions and pools before it, dense layers behind it"
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
    """Fill a frozen dataclass from a table of a preset.

    Raises
    ------
    InputError
        Where a key is none of its fields, or a value is of another type than the field's default.
    """
    names = {field.name: field for field in fields(kind)}
    for key, value in declared.items():
        if key not in names:
            raise InputError(f"{where} received the key {shown(key)}; valid keys are {', '.join(names)}")
        if not _fits(str(names[key].type), value):
            raise InputError(
                f"{where} received {key} = {shown(value)}; expected {_WORDS[str(names[key].type)]}"
            )
    return kind(**declared)


_WORDS = {
    "int": f"a whole number of at least 1 and at most {_MOST:,}",
    "float": f"a number of at least 0 and at most {_MOST:,}",
    "bool": "true or false",
    "str": "a text",
    "int | None": f"a whole number of at least 1 and at most {_MOST:,}, or to leave it out",
    "float | None": f"a number of at least 0 and at most {_MOST:,}, or to leave it out",
    "tuple[str, ...]": "a list of texts",
    "tuple[float, ...]": "a list of numbers",
}


def _fits(kind: str, value: Any) -> bool:
    if kind.startswith("bool"):
        return isinstance(value, bool)
    if kind.startswith("int"):
        return _is_count(value)
    if kind.startswith("float"):
        return is_number(value)
    if kind.startswith("tuple"):
        inner = str if "str" in kind else (int, float)
        return isinstance(value, list | tuple) and all(isinstance(item, inner) for item in value)
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Tell whether a value is a number of at least 0 that a computation can take."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MOST
