"""Read and write model files: plain ZIP archives of a JSON manifest and numeric arrays.

Any ZIP program can open a model file, but this module only reads files that it could have written: it packs
the members again and compares the result, which excludes compression, comments, gaps and duplicate members.
Opening a file never runs code from it: nothing is unpickled, and a network is stored as a plan and tensors
from which its graph is built. The manifest contains the SHA-256 of each member to detect accidental damage;
these checksums are not a signature.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.decoding import Array, decode_array, decode_members, encode_array
from skinmnist.datasets.files import as_path
from skinmnist.decisions.probabilities import geometric_mean
from skinmnist.errors import InputError
from skinmnist.features.extract import extract_features, feature_names
from skinmnist.features.image_ops import Shape
from skinmnist.inference.heads import HEADS, STEPS, Head, Step, softmax
from skinmnist.inference.manifest import (
    FORMAT,
    MANIFEST,
    Arrays,
    Manifest,
    UnreadableError,
    encode_manifest,
    entry,
    number,
    one_of,
    several,
    whole,
)
from skinmnist.inference.novelty import novelty_score
from skinmnist.inference.onnx_network import NetworkPlan, Session

SUFFIX = ".skm"
#: Maximum size of a file in bytes.
MOST_BYTES = 64 * 2**20
#: Maximum number of members of an ensemble.
MOST_MEMBERS = 16
#: Prefix of the arrays of the novelty score.
NOVELTY = "novelty_"
_ARRAY = ".npy"
_BEGINNING = b"PK\x03\x04"
#: Tolerance for predictions on the probe pictures, because rounding on another processor may change the
#: branch taken in one of a hundred trees.
_PROBE_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Answer:
    """Predict probabilities from pixel rows: optional features, then steps, then a head or a network."""

    shape: Shape
    on_features: bool
    steps: tuple[Step, ...]
    head: Head | Session
    #: Codes of the classes that the head or network was trained on.
    codes: npt.NDArray[np.intp]
    n_classes: int

    @classmethod
    def read(cls, content: Any, arrays: Arrays, shape: Shape, n_classes: int) -> Answer:
        """Read the ``answer`` entry of a manifest and its arrays."""
        listed = several(entry(content, "codes"), "codes", 2, n_classes)
        codes = [whole(code, "codes", 0, n_classes - 1) for code in listed]
        if codes != sorted(set(codes)):
            raise UnreadableError("its codes are not in order")
        kind = one_of(entry(entry(content, "head"), "kind"), "head", ("network", *HEADS))
        on_features = one_of(entry(content, "input"), "input", ("pixels", "features")) == "features"
        width = _n_features(shape) if on_features else shape[0] * shape[1] * shape[2]
        steps: list[Step] = []
        for declared in several(entry(content, "steps"), "steps", 0, 2):
            step, width = STEPS[one_of(entry(declared, "kind"), "step", STEPS)](declared, arrays, width)
            steps.append(step)
        head: Head | Session
        if kind == "network":
            plan = NetworkPlan.read(content["head"], shape, len(codes), width if on_features else 0)
            head = Session(plan, arrays.floats)
        else:
            head = HEADS[kind](content["head"], arrays, width, len(codes))
        return cls(shape, on_features, tuple(steps), head, np.array(codes), n_classes)

    def __call__(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Predict probabilities of shape (n, n_classes) for one or more uint8 pixel rows.

        Raises InputError if the results are not probabilities, although all stored numbers are valid.
        """
        with np.errstate(all="ignore"):
            known = self._known(rows)
        if not (np.isfinite(known).all() and (known >= 0).all() and known.any(axis=1).all()):
            raise InputError(
                "the model answered with values that are not probabilities; it is damaged, so train it again"
            )
        probabilities = np.zeros((len(rows), self.n_classes))
        probabilities[:, self.codes] = known
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _known(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Predict probabilities of the classes on which the head was trained, shape (n, len(codes))."""
        if isinstance(self.head, Session) and not self.on_features:
            return softmax(self.head(rows, None))
        values: npt.NDArray[np.floating]
        values = extract_features(rows, self.shape) if self.on_features else rows.astype(np.float32)
        for step in self.steps:
            values = step(values)
        if isinstance(self.head, Session):
            return softmax(self.head(rows, values.astype(np.float32)))
        return self.head(values)


@dataclass(frozen=True, eq=False)
class Pool:
    """Predict the geometric mean of the probabilities of several models."""

    members: tuple[Answer, ...]

    @classmethod
    def read(cls, content: Any, arrays: Arrays, shape: Shape, n_classes: int) -> Pool:
        """Read the ``models`` entry of an answer, a list of answers, each with its own arrays."""
        members = []
        for place, one in enumerate(several(entry(content, "models"), "models", 2, MOST_MEMBERS)):
            own = Arrays(arrays.beginning(member_prefix(place)))
            members.append(Answer.read(one, own, shape, n_classes))
            own.check_empty()
        return cls(tuple(members))

    def __call__(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Predict probabilities like `Answer`."""
        return geometric_mean([member(rows) for member in self.members])


def member_prefix(place: int) -> str:
    """Return the prefix of the arrays of a member of an ensemble."""
    return f"member{place}_"


def read_answer(content: Any, arrays: Arrays, shape: Shape, n_classes: int) -> Answer | Pool:
    """Read the ``answer`` entry of a manifest and its arrays: one model, or an ensemble."""
    reader = Pool if isinstance(content, Mapping) and "models" in content else Answer
    return reader.read(content, arrays, shape, n_classes)


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A validated model file. `novelty` contains the arrays for `novelty_score`, or is empty."""

    manifest: Manifest
    answer: Answer | Pool
    novelty: dict[str, Array]


def encode_model(
    description: Mapping[str, Any],
    answer: Mapping[str, Any],
    arrays: Mapping[str, Array],
    novelty: Mapping[str, Array],
) -> bytes:
    """Encode a model file; equal models give identical bytes.

    The manifest combines `description`, `answer` (read by `read_answer` together with `arrays`) and computed
    entries. `novelty` is the result of `fit_novelty`.
    """
    height, width, channels = description["shape"]
    shape = (height, width, channels)
    every = {**arrays, **{NOVELTY + name: values for name, values in novelty.items()}}
    members = {name + _ARRAY: encode_array(np.asarray(values, order="C")) for name, values in every.items()}
    ready = read_answer(answer, Arrays(arrays), shape, len(description["classes"]))
    manifest = {
        "format": FORMAT,
        **description,
        "answer": dict(answer),
        "probe": ready(probe_rows(shape)).round(6).tolist(),
        "members": list_members(members),
    }
    return pack({MANIFEST: encode_manifest(manifest), **members})


def list_members(members: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return the SHA-256 and size of each member for the manifest."""
    return {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in members.items()
    }


def pack(members: Mapping[str, bytes]) -> bytes:
    """Pack named members into an uncompressed ZIP archive; equal members give identical bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            # Mark the member as a regular Unix file with read permission for all users, on every platform.
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return stream.getvalue()


def is_model(head: bytes) -> bool:
    """Return whether the first bytes of a file identify it as a model file of any version."""
    return head.startswith(_BEGINNING) and head[30:].startswith(MANIFEST.encode())


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file; raise InputError if it is invalid or damaged, or if its predictions have changed."""
    file = as_path(path, "the path of a model file")
    try:
        return decode_model(_content(file))
    except UnreadableError as reason:
        raise InputError(
            f"{file} is not a usable model file: {reason}; "
            "name another, or train the model again with `skinmnist train`"
        ) from None


def decode_model(content: bytes) -> ModelFile:
    """Decode the contents of a model file; raise UnreadableError if they are invalid."""
    if not content.startswith(_BEGINNING):
        raise UnreadableError("it was not written by skinmnist")
    try:
        # Members are not compressed, so they cannot be larger than the file.
        members = decode_members(content, len(content))
    except ValueError:
        raise UnreadableError("it is damaged or incomplete") from None
    if MANIFEST not in members:
        raise UnreadableError("it has no manifest")
    manifest = Manifest.read(members[MANIFEST])
    arrays = _arrays(content, members, manifest)
    novelty = arrays.beginning(NOVELTY)
    n_classes = len(manifest.class_names)
    with np.errstate(all="ignore"):
        answer = read_answer(entry(manifest.content, "answer"), arrays, manifest.shape, n_classes)
    arrays.check_empty()
    model = ModelFile(manifest, answer, novelty)
    _try_out(model)
    return model


def _arrays(content: bytes, members: Mapping[str, bytes], manifest: Manifest) -> Arrays:
    """Decode the arrays of a file after checking that `encode_model` could have written it."""
    found = {name: member for name, member in members.items() if name != MANIFEST}
    if not all(name.removesuffix(_ARRAY).isidentifier() for name in found):
        raise UnreadableError("it holds more than its manifest and arrays")
    if list_members(found) != entry(manifest.content, "members"):
        raise UnreadableError("its members do not match the list in its manifest")
    if pack(members) != content:
        raise UnreadableError("it is damaged, or was packed by another program")
    try:
        return Arrays({name.removesuffix(_ARRAY): decode_array(one, name) for name, one in found.items()})
    except ValueError as error:
        raise UnreadableError(str(error)) from None


def _content(file: Path) -> bytes:
    """Read a file; raise an error if it is too large to be a model file."""
    try:
        # Opening a pipe would block.
        reason = "" if stat.S_ISREG(file.stat().st_mode) else "it is not a plain file"
        if not reason:
            with file.open("rb") as stream:
                content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
    if reason:
        raise InputError(
            f"the model {file} cannot be read ({reason}); name a file written by `skinmnist train`"
        )
    if len(content) > MOST_BYTES:
        raise UnreadableError(f"it is larger than {MOST_BYTES:,} bytes")
    return content


def _n_features(shape: Shape) -> int:
    try:
        return len(feature_names(shape))
    except InputError:
        raise UnreadableError("its pictures are too small for lesion features") from None


def probe_rows(shape: Shape) -> npt.NDArray[np.uint8]:
    """Return two pictures for checking a model, a dark spot and stripes, shape (2, pixels)."""
    height, width, channels = shape
    y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[:, None]
    spot = 220 - 15 * np.arange(channels) - (140 - 20 * x) * np.exp(-3 * (x**2 + (y + 0.1 * x) ** 2))
    stripes = np.arange(height * width * channels) * 37 % 251
    return np.stack([spot.ravel(), stripes]).astype(np.uint8)


def _try_out(model: ModelFile) -> None:
    """Check that a model still makes the predictions stored when it was written.

    A combination of valid numbers can be meaningless, and a later version of this package may extract
    different features.
    """
    rows = probe_rows(model.manifest.shape)
    expected = several(entry(model.manifest.content, "probe"), "probe", len(rows), len(rows))
    try:
        answers = model.answer(rows)
        if model.novelty:
            with np.errstate(all="ignore"):
                novelty_score(rows, model.manifest.shape, model.novelty)
    except InputError as error:
        raise UnreadableError(f"it cannot answer: {error}") from None
    for stored, answer in zip(expected, answers, strict=True):
        probe = [number(p, "probe", 0, 1) for p in several(stored, "probe", len(answer), len(answer))]
        if np.abs(answer - probe).max() > _PROBE_TOLERANCE:
            raise UnreadableError(
                "its answers differ from those stored when it was written; another version of skinmnist may "
                "have written it"
            )


def model_folder() -> Path:
    """Return ``$SKINMNIST_MODELS``, or ``models`` in the platform's user data folder.

    The folder may not exist yet.
    """
    named = os.environ.get("SKINMNIST_MODELS")
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_data_path("skinmnist", appauthor=False) / "models"


def newest_model() -> Path:
    """Return the most recent file in the model folder; raise InputError if the folder contains no file."""
    folder = model_folder()
    files = [file for file in folder.glob(f"*{SUFFIX}") if file.is_file()]
    if not files:
        raise InputError(
            f"no model was named and {folder} holds none; train one with `skinmnist train`, "
            "or name a model file"
        )
    return max(files, key=lambda file: (file.stat().st_mtime_ns, file.name))
