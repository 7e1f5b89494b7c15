"""Model files: a plain ZIP of a manifest in JSON and arrays of plain numbers.

Any ZIP program opens one. In turn only what this module writes is read: what was found is packed again and
compared, so there is no compression, comment, gap or second member to be wary of. Opening one runs no code
that came with it: nothing is unpickled, and a network is a plan and tensors, of which its graph is composed.
The SHA-256 of each member is in the manifest, against accidents: who can change a member can change the
manifest, too.
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

from skinmnist.datasets.arrays import Array, decode_array, decode_members, encode_array
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
#: Bytes of a file.
MOST_BYTES = 64 * 2**20
#: What the names of the arrays for the novelty score begin with.
NOVELTY = "novelty_"
_ARRAY = ".npy"
_BEGINNING = b"PK\x03\x04"
#: How far answers to the probe may be off: sums of another processor may send a picture another way down one
#: tree of a hundred.
_PROBE_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Answer:
    """Pixel rows to probabilities: features, where any are used, then steps, then a head or a network."""

    shape: Shape
    on_features: bool
    steps: tuple[Step, ...]
    head: Head | Session
    #: Of the classes that the head or network knows.
    codes: npt.NDArray[np.intp]
    n_classes: int

    @classmethod
    def read(cls, content: Any, arrays: Arrays, shape: Shape, n_classes: int) -> Answer:
        """Read the entry ``answer`` of a manifest, with the arrays that belong to it."""
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
        """Return probabilities of shape (n, n_classes) of uint8 pixel rows, at least one.

        InputError where the model's numbers, each in order, make no probabilities together.
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
        """Return probabilities of the classes that the head knows, shape (n, len(codes))."""
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
class ModelFile:
    """A model file that was found to be whole; `novelty` is what `novelty_score` takes, or empty."""

    manifest: Manifest
    answer: Answer
    novelty: dict[str, Array]


def encode_model(
    description: Mapping[str, Any],
    answer: Mapping[str, Any],
    arrays: Mapping[str, Array],
    novelty: Mapping[str, Array],
) -> bytes:
    """Return the content of a model file, the same bytes for the same model.

    The manifest is `description`, `answer`, which `Answer.read` reads with its `arrays`, and what is computed
    here; `novelty` is what `fit_novelty` returns.
    """
    height, width, channels = description["shape"]
    shape = (height, width, channels)
    every = {**arrays, **{NOVELTY + name: values for name, values in novelty.items()}}
    members = {name + _ARRAY: encode_array(np.asarray(values, order="C")) for name, values in every.items()}
    ready = Answer.read(answer, Arrays(arrays), shape, len(description["classes"]))
    manifest = {
        "format": FORMAT,
        **description,
        "answer": dict(answer),
        "probe": ready(probe_rows(shape)).round(6).tolist(),
        "members": list_members(members),
    }
    return pack({MANIFEST: encode_manifest(manifest), **members})


def list_members(members: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return SHA-256 and size of each member, as the manifest lists them."""
    return {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in members.items()
    }


def pack(members: Mapping[str, bytes]) -> bytes:
    """Join named members to the content of a ZIP, uncompressed, the same bytes for the same members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            # On every system as on Unix: a plain file that everybody may read.
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return stream.getvalue()


def is_model(head: bytes) -> bool:
    """Return, by its first bytes, whether a file was written as a model file, by whatever version."""
    return head.startswith(_BEGINNING) and head[30:].startswith(MANIFEST.encode())


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file; InputError where it is none of this format, damaged, or answers otherwise."""
    file = Path(path)
    try:
        return decode_model(_content(file))
    except UnreadableError as reason:
        raise InputError(
            f"{file} is not a usable model file: {reason}; "
            "name another, or train the model again with `python -m skinmnist.train`"
        ) from None


def decode_model(content: bytes) -> ModelFile:
    """Read the content of a model file; UnreadableError where `read_model` would raise an InputError."""
    if not content.startswith(_BEGINNING):
        raise UnreadableError("it was not written by skinmnist")
    try:
        # Nothing is compressed, so its members take no more than the file.
        members = decode_members(content, len(content))
    except ValueError as error:
        raise UnreadableError(str(error)) from None
    if MANIFEST not in members:
        raise UnreadableError("it has no manifest")
    manifest = Manifest.read(members[MANIFEST])
    arrays = _arrays(content, members, manifest)
    novelty = arrays.beginning(NOVELTY)
    n_classes = len(manifest.class_names)
    with np.errstate(all="ignore"):
        answer = Answer.read(entry(manifest.content, "answer"), arrays, manifest.shape, n_classes)
    arrays.check_empty()
    model = ModelFile(manifest, answer, novelty)
    _try_out(model)
    return model


def _arrays(content: bytes, members: Mapping[str, bytes], manifest: Manifest) -> Arrays:
    """Decode the arrays of a file that `encode_model` can have written."""
    found = {name: member for name, member in members.items() if name != MANIFEST}
    if not all(name.removesuffix(_ARRAY).isidentifier() for name in found):
        raise UnreadableError("it holds something beside its manifest and arrays")
    if list_members(found) != entry(manifest.content, "members"):
        raise UnreadableError("its members are not those that its manifest lists")
    if pack(members) != content:
        raise UnreadableError("it is damaged, or packed by another program")
    try:
        return Arrays({name.removesuffix(_ARRAY): decode_array(one, name) for name, one in found.items()})
    except ValueError as error:
        raise UnreadableError(str(error)) from None


def _content(file: Path) -> bytes:
    """Read a file, but none so large that it cannot be a model."""
    try:
        # A pipe would be waited for.
        reason = "" if stat.S_ISREG(file.stat().st_mode) else "it is not a plain file"
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


def _n_features(shape: Shape) -> int:
    try:
        return len(feature_names(shape))
    except InputError:
        raise UnreadableError("its pictures are too small for lesion features") from None


def probe_rows(shape: Shape) -> npt.NDArray[np.uint8]:
    """Return two pictures that every model is tried out on, shape (2, pixels): a dark spot, and stripes."""
    height, width, channels = shape
    y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[:, None]
    spot = 220 - 15 * np.arange(channels) - (140 - 20 * x) * np.exp(-3 * (x**2 + (y + 0.1 * x) ** 2))
    stripes = np.arange(height * width * channels) * 37 % 251
    return np.stack([spot.ravel(), stripes]).astype(np.uint8)


def _try_out(model: ModelFile) -> None:
    """Let a model answer two pictures, and compare with what it answered when it was written.

    Numbers may each be in order and make no sense together; and a later version of this package may extract
    other features than the model has learnt from.
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
                "its answers differ from those stored when it was written, perhaps by another version of "
                "skinmnist"
            )


def model_folder() -> Path:
    """Return ``$SKINMNIST_MODELS``, else ``models`` in the platform's data folder for this user.

    It need not exist.
    """
    named = os.environ.get("SKINMNIST_MODELS")
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_data_path("skinmnist", appauthor=False) / "models"


def newest_model() -> Path:
    """Return the file in the model folder that was written last; InputError where there is none."""
    folder = model_folder()
    files = [file for file in folder.glob(f"*{SUFFIX}") if file.is_file()]
    if not files:
        raise InputError(
            f"no model was named and there is none in {folder}; train one with `python -m skinmnist.train`, "
            "or name a model file"
        )
    return max(files, key=lambda file: (file.stat().st_mtime_ns, file.name))
