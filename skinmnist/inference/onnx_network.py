"""The networks of `skinmnist.models.cnn.network` as ONNX: from uint8 pictures to log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.inference.checks import UnreadableError, entry, number, one_of, several, whole
from skinmnist.inference.onnx_format import Graph, Pieces

#: Multiplications that one picture may cost; the widest network of this package needs about an eighth.
MOST_PRODUCTS = 3_000_000_000
#: Numbers that the largest grid of one picture may have in all views; the widest here has a tenth.
MOST_VALUES = 2_000_000


@dataclass(frozen=True)
class NetworkPlan:
    """Everything about a trained network but its numbers.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    n_classes : int
    block : int
        Side of the blocks of pixels that are folded into channels.
    channels, pairs : tuple of int
        Channels and residual pairs of each stage.
    views : int
        Symmetric views whose log-probabilities are averaged.
    n_numbers : int
        Descriptors that a second network looks at; 0 where there is none.
    hidden : tuple of int
        Units of each of its hidden layers.
    share : float
        Weight of its answer.
    """

    shape: tuple[int, int, int]
    n_classes: int
    block: int
    channels: tuple[int, ...]
    pairs: tuple[int, ...]
    views: int
    n_features: int = 0
    hidden: tuple[int, ...] = ()
    share: float = 0.0

    @classmethod
    def read(cls, step: Any, shape: tuple[int, int, int], n_classes: int, n_descriptors: int) -> NetworkPlan:
        """Read a plan from a manifest.

        Raises
        ------
        UnreadableError
            Where it describes no network of this package, or one that would take too long.
        """
        channels = [whole(c, "channels", 1, 512) for c in several(entry(step, "channels"), "channels", 1, 6)]
        pairs = [
            whole(p, "pairs", 0, 4)
            for p in several(entry(step, "pairs"), "pairs", len(channels), len(channels))
        ]
        square = shape[0] == shape[1]
        n_features = one_of(entry(step, "numbers"), "descriptors", (0, n_descriptors))
        plan = cls(
            shape=shape,
            n_classes=n_classes,
            block=one_of(entry(step, "block"), "block", (1, 2, 4, 8)),
            channels=tuple(channels),
            pairs=tuple(pairs),
            views=one_of(entry(step, "views"), "views", (1, 2, 4, 8) if square else (1, 2, 4)),
            n_features=n_features,
            hidden=tuple(
                whole(h, "hidden units", 1, 2048)
                for h in several(entry(step, "hidden"), "hidden units", 0, 4 if n_features else 0)
            ),
            share=number(entry(step, "share"), "share", 0, 1),
        )
        if plan.products > MOST_PRODUCTS or plan.values > MOST_VALUES:
            raise UnreadableError("its network would take too long or too much memory for one picture")
        return plan

    def as_step(self) -> dict[str, Any]:
        """Return what `read` reads."""
        return {
            "channels": list(self.channels),
            "pairs": list(self.pairs),
            "block": self.block,
            "views": self.views,
            "numbers": self.n_features,
            "hidden": list(self.hidden),
            "share": self.share,
        }

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Height and width of the grid of each stage."""
        found = [(-(-self.shape[0] // self.block), -(-self.shape[1] // self.block))]
        for _ in self.channels[1:]:
            found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
        return found

    @property
    def products(self) -> int:
        """Multiplications that one picture costs in all its views."""
        total, inputs = 0, self.shape[2] * self.block**2
        for (height, width), outputs, pairs in zip(self.grids, self.channels, self.pairs, strict=True):
            total += height * width * 9 * outputs * (inputs + 2 * pairs * outputs)
            inputs = outputs
        return total * self.views

    @property
    def values(self) -> int:
        """Numbers of the largest grid of one picture in all its views."""
        inputs = self.shape[2] * self.block**2
        sizes = zip(self.grids, (max(inputs, self.channels[0]), *self.channels[1:]), strict=True)
        return max(height * width * channels for (height, width), channels in sizes) * self.views


def compose_network(plan: NetworkPlan) -> Pieces:
    """Compose the ONNX file of a network, with gaps for its numbers.

    Inputs are ``pictures``, uint8 of shape (n, height * width * channels), and, where a second network looks
    at descriptors, ``numbers``, float32 of shape (n, n_numbers). The output, float32 of shape (n, n_classes),
    are log-probabilities: the weighted mean of the networks', each the mean over its views.
    """
    graph = Graph()
    source = gather_views(plan)
    pictures = graph.input("pictures", "uint8", ("n", int(np.prod(plan.shape))))
    found = graph.add("Gather", [pictures, graph.constant(source.ravel())], axis=1)
    found = _reshape(graph, found, (-1, *source.shape[1:]))
    found = graph.add("Cast", [found], to=1)
    spread = (1, source.shape[1], 1, 1)
    found = graph.add("Sub", [found, graph.gap("centre", spread)])
    found = graph.add("Div", [found, graph.gap("spread", spread)])
    found = _stages(graph, found, plan)
    mean = graph.add("GlobalAveragePool", [found])
    joined = graph.add("Concat", [mean, graph.add("GlobalMaxPool", [found])], axis=1)
    logits = _dense(
        graph, graph.add("Flatten", [joined], axis=1), "logits", 2 * plan.channels[-1], plan.n_classes
    )
    logs = _reshape(graph, graph.add("LogSoftmax", [logits], axis=1), (-1, plan.views, plan.n_classes))
    answer = graph.add("ReduceMean", [logs], axes=[1], keepdims=0)
    if plan.n_features:
        described = graph.add("LogSoftmax", [_feature_extractor(graph, plan)], axis=1)
        own = graph.add("Mul", [answer, graph.constant(np.array([1 - plan.share], np.float32))])
        other = graph.add("Mul", [described, graph.constant(np.array([plan.share], np.float32))])
        answer = graph.add("Add", [own, other])
    return graph.compose("skinmnist", answer, ("n", plan.n_classes))


def gather_views(plan: NetworkPlan) -> npt.NDArray[np.int32]:
    """Return which pixel of a flat row stands where, shape (views, channels of a block, height, width).

    Turning and mirroring, mirroring the border until blocks are whole, and folding blocks into channels only
    move pixels, so one gathering does all of it.
    """
    height, width, channels = plan.shape
    places = np.arange(height * width * channels, dtype=np.int32).reshape(plan.shape)
    below, right = -height % plan.block, -width % plan.block
    found = []
    for view in range(plan.views):
        turned = places[:, ::-1] if view & 1 else places
        turned = turned[::-1] if view & 2 else turned
        turned = turned.transpose(1, 0, 2) if view & 4 else turned
        padded = np.pad(turned, ((0, below), (0, right), (0, 0)), "symmetric")
        rows, columns = padded.shape[0] // plan.block, padded.shape[1] // plan.block
        blocks = padded.reshape(rows, plan.block, columns, plan.block, channels)
        found.append(blocks.transpose(1, 3, 4, 0, 2).reshape(-1, rows, columns))
    return np.stack(found)


def _stages(graph: Graph, found: str, plan: NetworkPlan) -> str:
    """Add the stages of convolutions; every normalisation is part of the convolution before it."""
    inputs = plan.shape[2] * plan.block**2
    for stage, (outputs, pairs) in enumerate(zip(plan.channels, plan.pairs, strict=True), start=1):
        if stage > 1:
            odd = [side % 2 for side in plan.grids[stage - 2]]
            found = graph.add("MaxPool", [found], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, *odd])
        found = graph.add("Relu", [_convolution(graph, found, f"stage{stage}_conv", inputs, outputs)])
        for pair in range(pairs):
            name = f"stage{stage}_pair{pair}"
            inner = graph.add("Relu", [_convolution(graph, found, f"{name}_first", outputs, outputs)])
            inner = _convolution(graph, inner, f"{name}_second", outputs, outputs)
            found = graph.add("Relu", [graph.add("Add", [found, inner])])
        inputs = outputs
    return found


def _convolution(graph: Graph, found: str, name: str, inputs: int, outputs: int) -> str:
    kernel = graph.gap(f"{name}_kernel", (outputs, inputs, 3, 3))
    return graph.add("Conv", [found, kernel, graph.gap(f"{name}_offset", (outputs,))], pads=[1, 1, 1, 1])


def _feature_extractor(graph: Graph, plan: NetworkPlan) -> str:
    found = graph.input("numbers", "float32", ("n", plan.n_features))
    inputs = plan.n_features
    for layer, units in enumerate(plan.hidden, start=1):
        found = graph.add("Relu", [_dense(graph, found, f"hidden{layer}", inputs, units)])
        inputs = units
    return _dense(graph, found, "describer_logits", inputs, plan.n_classes)


def _dense(graph: Graph, found: str, name: str, inputs: int, outputs: int) -> str:
    kernel = graph.gap(f"{name}_kernel", (inputs, outputs))
    return graph.add("Gemm", [found, kernel, graph.gap(f"{name}_offset", (outputs,))])


def _reshape(graph: Graph, found: str, shape: tuple[int, ...]) -> str:
    return graph.add("Reshape", [found, graph.constant(np.array(shape, dtype=np.int64))])
