"""Model files: a ZIP of a manifest in JSON, arrays of plain numbers, and a network in ONNX.

Opening one runs no code that came with it: nothing is unpickled, the network must be one that this package
composes itself, and everything else is numbers that numpy computes with. The SHA-256 of each member stands in
the manifest, against accidents: who can change a member can change the manifest, too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.inference.archive import MOST_BYTES, begins_with, pack, unpack
from skinmnist.inference.arrays import Array, Arrays, decode, encode
from skinmnist.inference.chain import NETWORK, Answer, n_descriptors
from skinmnist.inference.checks import UnreadableError, entry, number, several
from skinmnist.inference.manifest import FORMAT, MANIFEST, Manifest, encode_manifest
from skinmnist.inference.novelty import novelty_score
from skinmnist.inference.onnx_format import fill
from skinmnist.inference.onnx_network import NetworkPlan, compose_network

#: What the names of the arrays begin with by which unfamiliar pictures are told.
UNFAMILIAR = "unfamiliar_"
_ARRAY = ".npy"
#: How far answers to the probe may be off: sums of another processor may send a picture another way down one
#: tree of a hundred.
_PROBE_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model file that was found to be whole.

    Attributes
    ----------
    manifest : Manifest
    answer : Answer
        Pixel rows to probabilities.
    unfamiliar : dict of str to ndarray
        What `skinmnist.inference.novelty.novelty_score` takes; empty where the file has none.
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
        What `skinmnist.inference.novelty.fit_novelty` returns.
    """
    height, width, channels = description["shape"]
    shape = (height, width, channels)
    members, tensors = {}, None
    if network is not None:
        n_features = n_descriptors(shape) if answer["input"] == "descriptors" else 0
        plan = NetworkPlan.read(answer["head"], shape, len(answer["codes"]), n_features)
        tensors = members[NETWORK] = fill(compose_network(plan), network)
    kept = {**arrays, **{UNFAMILIAR + name: values for name, values in unfamiliar.items()}}
    members |= {name + _ARRAY: encode(values) for name, values in kept.items()}
    listed = {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in members.items()}
    ready = Answer.read(answer, Arrays(arrays), tensors, shape, len(description["classes"]))
    manifest = {
        "format": FORMAT,
        **description,
        "answer": dict(answer),
        "probe": ready(probe_rows(shape)).round(6).tolist(),
        "members": listed,
    }
    return pack({MANIFEST: encode_manifest(manifest), **members})


def is_model(head: bytes) -> bool:
    """Tell by its first bytes whether a file was written as a model file, by whatever version."""
    return begins_with(head, MANIFEST)


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
        # A pipe would be waited for.
        reason = "" if stat.S_ISREG(file.stat().st_mode) else "it is no plain file"
        if not reason:
            with file.open("rb") as stream:
                content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
    if reason:
        raise InputError(
            f"the model {file} cannot be read ({reason}); name a file that `python -m skinmnist.train` has "
            "written"
        )
    if len(content) > MOST_BYTES:
        raise UnreadableError(f"it is larger than {MOST_BYTES:,} bytes")
    return content


def _check_members(listed: Any, members: Mapping[str, bytes]) -> None:
    if not isinstance(listed, Mapping):
        raise UnreadableError("its list of members is none")
    for name, content in members.items():
        if entry(entry(listed, name), "sha256") != _sha256(content):
            raise UnreadableError(f"its member {name} is not the one that was written")
    if len(listed) != len(members):
        raise UnreadableError("one of its members is missing")


def probe_rows(shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Return two pictures that every model is tried out on, shape (2, pixels): a dark spot, and stripes."""
    height, width, channels = shape
    y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[:, None]
    spot = 220 - 15 * np.arange(channels) - (140 - 20 * x) * np.exp(-3 * (x**2 + (y + 0.1 * x) ** 2))
    stripes = np.arange(height * width * channels) * 37 % 251
    return np.stack([spot.ravel(), stripes]).astype(np.uint8)


def _try_out(model: ModelFile) -> None:
    """Let a model answer for two pictures, and compare with what it answered when it was written.

    Numbers may each be in order and make no sense together; and a later version of this package may describe
    pictures otherwise than the model has learnt.
    """
    rows = probe_rows(model.manifest.shape)
    expected = several(entry(model.manifest.content, "probe"), "probe", len(rows), len(rows))
    try:
        found = model.answer(rows)
        if model.unfamiliar:
            with np.errstate(all="ignore"):
                novelty_score(rows, model.manifest.shape, model.unfamiliar)
    except InputError as error:
        raise UnreadableError(f"it cannot answer: {error}") from None
    for given, shares in zip(expected, found, strict=True):
        told = [number(p, "probe", 0, 1) for p in several(given, "probe", len(shares), len(shares))]
        if np.abs(shares - told).max() > _PROBE_TOLERANCE:
            raise UnreadableError(
                "it answers otherwise than when it was written, perhaps by another version of skinmnist"
            )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
