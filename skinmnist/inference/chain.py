"""What a model file computes: the chain from pixel rows to probabilities, out of its members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.features.descriptors import describe, descriptor_names
from skinmnist.inference.arrays import Arrays
from skinmnist.inference.checks import UnreadableError, entry, one_of, several, whole
from skinmnist.inference.heads import HEADS, Head, Project, Standardise, softmax
from skinmnist.inference.onnx_format import check_filled
from skinmnist.inference.onnx_network import NetworkPlan, compose_network
from skinmnist.inference.session import Session

Shape = tuple[int, int, int]
NETWORK = "network.onnx"


@dataclass(frozen=True, eq=False)
class Answer:
    """Pixel rows to probabilities.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    described : bool
        Whether anything looks at descriptors.
    steps : tuple of callable
        Numbers to numbers.
    head : callable or None
        Numbers to probabilities; None where the network answers.
    network : Session or None
    codes : ndarray of shape (k,)
        Codes of the classes that the head knows.
    n_classes : int
    """

    shape: Shape
    described: bool
    steps: tuple[Standardise | Project, ...]
    head: Head | None
    network: Session | None
    codes: npt.NDArray[np.intp]
    n_classes: int

    @classmethod
    def read(
        cls, content: Any, arrays: Arrays, network: bytes | None, shape: Shape, n_classes: int
    ) -> Answer:
        """Read the entry ``answer`` of a manifest, with the members that belong to it.

        Raises
        ------
        UnreadableError
            Where it describes nothing that this package can compute.
        """
        codes = [
            whole(c, "codes", 0, n_classes - 1)
            for c in several(entry(content, "codes"), "codes", 2, n_classes)
        ]
        if codes != sorted(set(codes)):
            raise UnreadableError("its codes are not in order")
        kind = one_of(entry(entry(content, "head"), "kind"), "head", ("network", *HEADS))
        described = one_of(entry(content, "input"), "input", ("pixels", "descriptors")) == "descriptors"
        width = shape[0] * shape[1] * shape[2]
        if described:
            width = n_descriptors(shape)
        steps: list[Standardise | Project] = []
        for step in several(entry(content, "steps"), "steps", 0, 2):
            reader = _STEPS[one_of(entry(step, "kind"), "step", _STEPS)]
            steps.append(reader.read(step, arrays, width))
            width = steps[-1].width
        head, session = None, None
        if kind == "network":
            plan = NetworkPlan.read(content["head"], shape, len(codes), width if described else 0)
            if network is None or bool(plan.n_features) != described:
                raise UnreadableError("its network is missing, or not the one that its manifest describes")
            check_filled(compose_network(plan), network)
            session = Session(network, plan.values)
        else:
            head = HEADS[kind].read(content["head"], arrays, width, len(codes))
        return cls(shape, described, tuple(steps), head, session, np.array(codes), n_classes)

    def __call__(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return probabilities of shape (n, k) of uint8 pixel rows, at least one.

        Raises
        ------
        InputError
            Where the model's numbers, each in order, make no probabilities together.
        """
        with np.errstate(all="ignore"):
            given = self._known(rows)
        if not (np.isfinite(given).all() and (given >= 0).all() and given.any(axis=1).all()):
            raise InputError(
                "the model answered with values that are no probabilities; it is damaged, so train it again"
            )
        probabilities = np.zeros((len(rows), self.n_classes))
        probabilities[:, self.codes] = given
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _known(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return probabilities of the classes that the head knows, shape (n, len(codes))."""
        numbers: npt.NDArray[np.floating] | None = None
        if self.described:
            numbers = describe(rows, self.shape)
        elif self.network is None:
            numbers = rows.astype(np.float32)
        if numbers is not None:
            for step in self.steps:
                numbers = step(numbers)
        if self.network is not None:
            return softmax(self.network(rows, None if numbers is None else numbers.astype(np.float32)))
        assert self.head is not None
        assert numbers is not None
        return self.head(numbers)


def n_descriptors(shape: Shape) -> int:
    """Return how many numbers describe a picture of this shape."""
    try:
        return len(descriptor_names(shape))
    except InputError:
        raise UnreadableError("its pictures are too small to be described") from None


_STEPS: dict[str, type[Any]] = {"standardise": Standardise, "project": Project}
