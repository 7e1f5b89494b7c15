"""ONNX as this package writes it, and reads it back: by writing it again.

A network's file is composed here byte by byte, with gaps where its trained numbers go. To read one, the same
file is composed anew from the network's plan and laid over the bytes found: outside the gaps they must be
equal. So the runtime is only ever given graphs of this package's own, whatever was in the file, and neither
writing nor reading needs a library.

Format: onnx.proto3 of ONNX in the encoding of Protocol Buffers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.inference.checks import UnreadableError

#: The oldest operators that do what is needed; every runtime since 2022 knows them.
OPSET, IR_VERSION = 17, 8

_FLOAT, _UINT8, _INT32, _INT64 = 1, 2, 6, 7
_TYPES = {"float32": _FLOAT, "uint8": _UINT8, "int32": _INT32, "int64": _INT64}

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Gap:
    """Where the float32 numbers of a trained tensor go."""

    name: str
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return 4 * math.prod(self.shape)


#: A message in pieces; what is known stands as bytes.
Pieces = list[bytes | Gap]


def varint(value: int) -> bytes:
    """Encode a whole number of at least 0, seven bits to a byte."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def whole(field: int, value: int) -> Pieces:
    """Encode a field of a whole number."""
    return [varint(field << 3) + varint(value)]


def message(field: int, pieces: Iterable[bytes | Gap]) -> Pieces:
    """Encode a field of a message, a text or bytes."""
    inner = list(pieces)
    return [varint(field << 3 | 2) + varint(sum(map(len, inner))), *inner]


def text(field: int, value: str) -> Pieces:
    """Encode a field of a text."""
    return message(field, [value.encode("ascii")])


class Graph:
    """An ONNX graph in the making: every operator is a method that names its result.

    Attributes
    ----------
    nodes, initializers, inputs : list of bytes or Gap
        Encoded, in the order in which they were added.
    """

    def __init__(self) -> None:
        self.nodes: Pieces = []
        self.initializers: Pieces = []
        self.inputs: Pieces = []
        self._made = 0

    def input(self, name: str, kind: str, shape: Sequence[int | str]) -> str:
        """Add an input; a text in its shape names a length that is free."""
        self.inputs += message(11, _value(name, kind, shape))
        return name

    def gap(self, name: str, shape: Sequence[int]) -> str:
        """Add a tensor of trained numbers."""
        found = Gap(name, tuple(shape))
        self.initializers += message(5, _tensor(name, "float32", found.shape, found))
        return name

    def constant(self, values: npt.NDArray[np.generic]) -> str:
        """Add a tensor that belongs to the graph."""
        self._made += 1
        name = f"constant{self._made}"
        kind = str(values.dtype)
        payload = values.astype(values.dtype.newbyteorder("<")).tobytes()
        self.initializers += message(5, _tensor(name, kind, values.shape, payload))
        return name

    def add(self, operator: str, inputs: Sequence[str], **attributes: int | Sequence[int]) -> str:
        """Add an operator and return the name of what it makes."""
        self._made += 1
        output = f"{operator.lower()}{self._made}"
        pieces = [piece for name in inputs for piece in text(1, name)]
        pieces += text(2, output) + text(4, operator)
        for name, value in attributes.items():
            pieces += message(5, _attribute(name, value))
        self.nodes += message(1, pieces)
        return output

    def compose(self, name: str, output: str, shape: Sequence[int | str]) -> Pieces:
        """Return the whole file, whose one output is of float32."""
        graph = [*self.nodes, *text(2, name), *self.initializers, *self.inputs]
        graph += message(12, _value(output, "float32", shape))
        opset = message(8, [*text(1, ""), *whole(2, OPSET)])
        return [*whole(1, IR_VERSION), *text(2, "skinmnist"), *message(7, graph), *opset]


def gaps(pieces: Iterable[bytes | Gap]) -> Iterator[Gap]:
    """Yield the gaps of a file, in its order."""
    return (piece for piece in pieces if isinstance(piece, Gap))


def fill(pieces: Iterable[bytes | Gap], tensors: Mapping[str, npt.NDArray[np.floating]]) -> bytes:
    """Return the file with every gap filled.

    Raises
    ------
    ValueError
        Where a tensor has another shape than its gap.
    """
    parts = []
    for piece in pieces:
        if isinstance(piece, Gap):
            if tensors[piece.name].shape != piece.shape:
                raise ValueError(f"{piece.name} has the shape {tensors[piece.name].shape}, not {piece.shape}")
            piece = tensors[piece.name].astype("<f4").tobytes()
        parts.append(piece)
    return b"".join(parts)


def check_filled(pieces: Iterable[bytes | Gap], content: bytes) -> None:
    """Check that bytes are a file of these pieces, with finite numbers in its gaps.

    Raises
    ------
    UnreadableError
        Where they are anything else.
    """
    place = 0
    for piece in pieces:
        found = content[place : place + len(piece)]
        place += len(piece)
        if isinstance(piece, Gap):
            if len(found) != len(piece) or not np.isfinite(np.frombuffer(found, "<f4")).all():
                raise UnreadableError("the numbers of its network are cut off or not finite")
        elif found != piece:
            raise UnreadableError("its network is not the one that its manifest describes")
    if place != len(content):
        raise UnreadableError("its network is followed by something else")


def _tensor(name: str, kind: str, shape: Sequence[int], payload: bytes | Gap) -> Pieces:
    dims = [piece for length in shape for piece in whole(1, length)]
    return [*dims, *whole(2, _TYPES[kind]), *text(8, name), *message(9, [payload])]


def _value(name: str, kind: str, shape: Sequence[int | str]) -> Pieces:
    dims: Pieces = []
    for length in shape:
        dims += message(1, text(2, length) if isinstance(length, str) else whole(1, length))
    described = message(1, [*whole(1, _TYPES[kind]), *message(2, dims)])
    return [*text(1, name), *message(2, described)]


def _attribute(name: str, value: int | Sequence[int]) -> Pieces:
    if isinstance(value, int):
        return [*text(1, name), *whole(3, value), *whole(20, 2)]
    listed = [piece for one in value for piece in whole(8, one)]
    return [*text(1, name), *listed, *whole(20, 7)]
