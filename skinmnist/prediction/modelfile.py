"""Model files: a ZIP of a manifest in JSON, arrays of plain numbers, and a network in ONNX.

Opening one runs no code that came with it: nothing is unpickled, the network must be one that this package
composes itself, and everything else is numbers that numpy computes with. The SHA-256 of each member stands in
the manifest, against accidents: who can change a member can change the manifest, too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinmnist.errors import InputError
from skinmnist.prediction.answer import NETWORK, Answer, n_descriptors
from skinmnist.prediction.archive import MOST_BYTES, pack, unpack
from skinmnist.prediction.arrays import Array, Arrays, decode, encode
from skinmnist.prediction.checks import UnreadableError, entry
from skinmnist.prediction.manifest import FORMAT, MANIFEST, Manifest, encode_manifest
from skinmnist.prediction.network import NetworkPlan, compose_network
from skinmnist.prediction.onnx_format import fill
from skinmnist.prediction.unfamiliar import unfamiliarity

#: What the names of the arrays begin with by which unfamiliar pictures are told.
UNFAMILIAR = "unfamiliar_"
_ARRAY = ".npy"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model file that was found to be whole.

    Attributes
    ----------
    manifest : Manifest
    answer : Answer
        Pixel rows to probabilities.
    unfamiliar : dict of str to ndarray
        What `skinmnist.prediction.unfamiliar.unfamiliarity` takes; empty where the file has none.
    """

    manifest: Manifest
    answer: Answer
    unfamiliar: dict[str, Array]


def encode_model(
    description: Mapping[str, Any],
    answer: Mapping[str, Any],
    arrays: Mapping[str, Array],
    network: Mapping[str, Array] | None,
    unfamiliar: Mapping[str, Array],
) -> bytes:
    """Return the content of a model file, the same bytes for the same model.

    Parameters
    ----------
    description : mapping
        The manifest but for its format, answer and members.
    answer : mapping
        What `Answer.read` reads.
    arrays : mapping of str to ndarray
        Its arrays.
    network : mapping of str to ndarray, or None
        Tensors of its network.
    unfamiliar : mapping of str to ndarray
        What `skinmnist.prediction.unfamiliar.fit_unfamiliar` returns.
    """
    members = {}
    if network is not None:
        height, width, channels = description["shape"]
        shape = (height, width, channels)
        n_numbers = n_descriptors(shape) if answer["input"] == "descriptors" else 0
        plan = NetworkPlan.read(answer["head"], shape, len(answer["codes"]), n_numbers)
        members[NETWORK] = fill(compose_network(plan), network)
    kept = {**arrays, **{UNFAMILIAR + name: values for name, values in unfamiliar.items()}}
    members |= {name + _ARRAY: encode(values) for name, values in kept.items()}
    listed = {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in members.items()}
    manifest = {"format": FORMAT, **description, "answer": dict(answer), "members": listed}
    return pack({MANIFEST: encode_manifest(manifest), **members})


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file.

    Raises
    ------
    InputError
        Where it is none that this version can read, is damaged, or its answers are no probabilities.
    """
    file = Path(path)
    try:
        return decode_model(_content(file))
    except UnreadableError as reason:
        raise InputError(
            f"{file} is no model file that can be used: {reason}; "
            "name one that `python -m skinmnist.train` has written, or write it again"
        ) from None


def decode_model(content: bytes) -> ModelFile:
    """Read the content of a model file.

    Raises
    ------
    UnreadableError
        Where `read_model` would raise an `InputError`.
    """
    members = unpack(content)
    if MANIFEST not in members:
        raise UnreadableError("it has no manifest")
    manifest = Manifest.read(members.pop(MANIFEST))
    _check_members(entry(manifest.content, "members"), members)
    network = members.pop(NETWORK, None)
    arrays = Arrays({name.removesuffix(_ARRAY): decode(member) for name, member in members.items()})
    unfamiliar = arrays.beginning(UNFAMILIAR)
    n_classes = len(manifest.class_names)
    answer = Answer.read(entry(manifest.content, "answer"), arrays, network, manifest.shape, n_classes)
    arrays.check_empty()
    model = ModelFile(manifest, answer, unfamiliar)
    _try_out(model)
    return model


def _content(file: Path) -> bytes:
    """Read a file, but none so large that it cannot be a model."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the model {file} cannot be read ({error.strerror}); name a file that "
            "`python -m skinmnist.train` has written"
        ) from None
    if len(content) > MOST_BYTES:
        raise UnreadableError(f"it is larger than {MOST_BYTES:,} bytes")
    return content


def _check_members(listed: Any, members: Mapping[str, bytes]) -> None:
    for name, content in members.items():
        if entry(entry(listed, name), "sha256") != _sha256(content):
            raise UnreadableError(f"its member {name} is not the one that was written")
    if len(listed) != len(members):
        raise UnreadableError("one of its members is missing")


def _try_out(model: ModelFile) -> None:
    """Answer for a grey and a striped picture: numbers may each be in order and make no sense together."""
    length = int(np.prod(model.manifest.shape))
    rows = np.stack([np.full(length, 128), np.arange(length) % 251]).astype(np.uint8)
    with np.errstate(all="ignore"):
        try:
            found = [model.answer(rows)]
            if model.unfamiliar:
                found.append(unfamiliarity(rows, model.manifest.shape, model.unfamiliar)[:, None])
        except Exception as error:  # Whatever numpy or onnxruntime find wrong with numbers of any kind.
            raise UnreadableError(f"it cannot answer ({type(error).__name__})") from None
    if not all(len(one) == 2 and np.isfinite(one).all() and (one >= 0).all() for one in found):
        raise UnreadableError("its answers are no probabilities")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
