"""Run trained networks with onnxruntime to predict log-probabilities for uint8 pictures.

A model file contains the plan and the tensors of a network. This module builds the ONNX graph from them byte
by byte; onnxruntime therefore only loads graphs composed by this package, and no library is required to write
them.

Format: onnx.proto3, encoded as Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.features.image_ops import Shape
from skinmnist.inference.manifest import UnreadableError, entry, number, one_of, several, whole

Floats = npt.NDArray[np.floating]
#: Returns the finite values of a trained tensor, given its name and shape.
Take = Callable[[str, tuple[int, ...]], Floats]

#: Maximum number of multiplications per picture; the widest network of this package requires about an eighth.
MOST_PRODUCTS = 3_000_000_000
#: Maximum size of the largest feature map of one picture over all views; the widest network uses a tenth.
MOST_VALUES = 2_000_000
#: Maximum batch size, and maximum number of values in the largest feature map of a batch. They make memory
#: use independent of the number of pictures and keep the working set in the processor's cache.
BATCH_ROWS, BATCH_VALUES = 32, 8_000_000
#: The oldest sufficient opset and IR version; every runtime since 2022 supports them.
OPSET, IR_VERSION = 17, 8

_TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7}


@dataclass(frozen=True)
class NetworkPlan:
    """The architecture of a trained network, without its tensors."""

    shape: Shape
    n_classes: int
    #: Side length of the pixel blocks that are folded into channels.
    block: int
    #: Number of channels and number of residual pairs in each stage.
    channels: tuple[int, ...]
    pairs: tuple[int, ...]
    #: Number of symmetric views whose log-probabilities are averaged.
    views: int
    #: Second network, which uses lesion features: number of inputs, hidden units per layer, and weight.
    n_features: int = 0
    hidden: tuple[int, ...] = ()
    share: float = 0.0

    @classmethod
    def read(cls, head: Any, shape: Shape, n_classes: int, n_features: int) -> NetworkPlan:
        """Read a plan from a manifest; raise an error if the network needs too much time or memory."""
        channels = [whole(c, "channels", 1, 512) for c in several(entry(head, "channels"), "channels", 1, 6)]
        pairs = several(entry(head, "pairs"), "pairs", len(channels), len(channels))
        hidden = several(entry(head, "hidden"), "hidden units", 0, 4 if n_features else 0)
        square = shape[0] == shape[1]
        plan = cls(
            shape=shape,
            n_classes=n_classes,
            block=one_of(entry(head, "block"), "block", (1, 2, 4, 8)),
            channels=tuple(channels),
            pairs=tuple(whole(p, "pairs", 0, 4) for p in pairs),
            views=one_of(entry(head, "views"), "views", (1, 2, 4, 8) if square else (1, 2, 4)),
            n_features=one_of(entry(head, "features"), "features", (n_features,)),
            hidden=tuple(whole(h, "hidden units", 1, 2048) for h in hidden),
            share=number(entry(head, "share"), "share", 0, 1),
        )
        if plan.products > MOST_PRODUCTS or plan.values > MOST_VALUES:
            raise UnreadableError("its network needs too much time or memory for one picture")
        return plan

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Height and width of the feature maps of each stage."""
        grids = [(-(-self.shape[0] // self.block), -(-self.shape[1] // self.block))]
        for _ in self.channels[1:]:
            grids.append((-(-grids[-1][0] // 2), -(-grids[-1][1] // 2)))
        return grids

    @property
    def products(self) -> int:
        """Number of multiplications per picture over all views."""
        total, inputs = 0, self.shape[2] * self.block**2
        for (height, width), outputs, pairs in zip(self.grids, self.channels, self.pairs, strict=True):
            total += height * width * 9 * outputs * (inputs + 2 * pairs * outputs)
            inputs = outputs
        return total * self.views

    @property
    def values(self) -> int:
        """Number of values in the largest feature map of one picture over all views."""
        inputs = self.shape[2] * self.block**2
        sizes = zip(self.grids, (max(inputs, self.channels[0]), *self.channels[1:]), strict=True)
        return max(height * width * channels for (height, width), channels in sizes) * self.views


class Session:
    """A network loaded with onnxruntime; `take` returns its tensors."""

    def __init__(self, plan: NetworkPlan, take: Take) -> None:
        import onnxruntime

        self._rows = max(1, min(BATCH_ROWS, BATCH_VALUES // plan.values))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # Errors are raised as exceptions; other messages are suppressed.
        # Spinning threads reduce the speed by a third on a busy processor.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = compose_network(plan, take)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # The exceptions of onnxruntime have no common base class.
            raise UnreadableError(f"onnxruntime cannot load its network ({type(error).__name__})") from None

    def __call__(
        self, pictures: npt.NDArray[np.uint8], features: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float64]:
        """Predict log-probabilities, shape (n, k), from flat rows and, if the network uses them, features."""
        outputs = []
        for start in range(0, len(pictures), self._rows):
            part = slice(start, start + self._rows)
            inputs = {"pictures": np.ascontiguousarray(pictures[part])}
            if features is not None:
                inputs["features"] = np.ascontiguousarray(features[part])
            outputs.append(self._session.run(None, inputs)[0])
        return np.concatenate(outputs).astype(np.float64)


class Graph:
    """Builder for an ONNX graph; each operator method returns the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._initializers: list[bytes] = []
        self._inputs: list[bytes] = []
        self._made = 0

    def input(self, name: str, kind: str, shape: Sequence[int | str]) -> str:
        """Add an input; a string in `shape` names a dynamic dimension."""
        self._inputs.append(message(11, _value(name, kind, shape)))
        return name

    def tensor(self, name: str, values: npt.NDArray[np.generic]) -> str:
        """Add a named tensor."""
        dims = b"".join(whole_field(1, length) for length in values.shape)
        kind = whole_field(2, _TYPES[str(values.dtype)])
        payload = values.astype(values.dtype.newbyteorder("<")).tobytes()
        self._initializers.append(message(5, dims + kind + text(8, name) + message(9, payload)))
        return name

    def constant(self, values: npt.NDArray[np.generic]) -> str:
        """Add a constant tensor under a generated name."""
        self._made += 1
        return self.tensor(f"constant{self._made}", values)

    def add(self, operator: str, inputs: Sequence[str], **attributes: int | Sequence[int]) -> str:
        """Add an operator and return the name of its output."""
        self._made += 1
        output = f"{operator.lower()}{self._made}"
        node = b"".join(text(1, name) for name in inputs) + text(2, output) + text(4, operator)
        node += b"".join(message(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes.append(message(1, node))
        return output

    def compose(self, name: str, output: str, shape: Sequence[int | str]) -> bytes:
        """Return the serialized model, which has a single float32 output."""
        outputs = message(12, _value(output, "float32", shape))
        graph = b"".join([*self._nodes, text(2, name), *self._initializers, *self._inputs, outputs])
        opset = message(8, text(1, "") + whole_field(2, OPSET))
        return whole_field(1, IR_VERSION) + text(2, "skinmnist") + message(7, graph) + opset


def varint(value: int) -> bytes:
    """Encode a non-negative integer as a varint, seven bits per byte."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def whole_field(field: int, value: int) -> bytes:
    """Encode an integer field."""
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """Encode a length-delimited field: a message, a string or bytes."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """Encode a string field."""
    return message(field, value.encode("ascii"))


def _value(name: str, kind: str, shape: Sequence[int | str]) -> bytes:
    lengths = (text(2, one) if isinstance(one, str) else whole_field(1, one) for one in shape)
    dims = b"".join(message(1, length) for length in lengths)
    return text(1, name) + message(2, message(1, whole_field(1, _TYPES[kind]) + message(2, dims)))


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return text(1, name) + whole_field(3, value) + whole_field(20, 2)
    return text(1, name) + b"".join(whole_field(8, one) for one in value) + whole_field(20, 7)


class _NetworkGraph(Graph):
    """A graph whose layers use trained tensors from a model file."""

    def __init__(self, take: Take) -> None:
        super().__init__()
        self._take = take

    def trained(self, name: str, *shape: int) -> str:
        return self.tensor(name, self._take(name, shape).astype(np.float32))

    def convolution(self, source: str, name: str, inputs: int, outputs: int) -> str:
        kernel = self.trained(f"{name}_kernel", outputs, inputs, 3, 3)
        return self.add("Conv", [source, kernel, self.trained(f"{name}_offset", outputs)], pads=[1, 1, 1, 1])

    def dense(self, source: str, name: str, inputs: int, outputs: int) -> str:
        kernel = self.trained(f"{name}_kernel", inputs, outputs)
        return self.add("Gemm", [source, kernel, self.trained(f"{name}_offset", outputs)])

    def reshape(self, source: str, *shape: int) -> str:
        return self.add("Reshape", [source, self.constant(np.array(shape, dtype=np.int64))])


def compose_network(plan: NetworkPlan, take: Take) -> bytes:
    """Compose the ONNX model of a network.

    The inputs are ``pictures``, a uint8 array of shape (n, height * width * channels), and ``features``, a
    float32 array of shape (n, n_features), if a second network uses lesion features. The output, a float32
    array of shape (n, n_classes), contains log-probabilities: the weighted mean of both networks, each
    averaged over its views.
    """
    graph = _NetworkGraph(take)
    source = gather_views(plan)
    pictures = graph.input("pictures", "uint8", ("n", int(np.prod(plan.shape))))
    grid = graph.add("Gather", [pictures, graph.constant(source.ravel())], axis=1)
    grid = graph.add("Cast", [graph.reshape(grid, -1, *source.shape[1:])], to=1)
    channels = (1, source.shape[1], 1, 1)
    grid = graph.add("Sub", [grid, graph.trained("centre", *channels)])
    grid = graph.add("Div", [grid, graph.trained("spread", *channels)])
    grid = _add_stages(graph, grid, plan)
    mean = graph.add("GlobalAveragePool", [grid])
    joined = graph.add("Concat", [mean, graph.add("GlobalMaxPool", [grid])], axis=1)
    flat = graph.add("Flatten", [joined], axis=1)
    logits = graph.dense(flat, "logits", 2 * plan.channels[-1], plan.n_classes)
    logs = graph.reshape(graph.add("LogSoftmax", [logits], axis=1), -1, plan.views, plan.n_classes)
    answer = graph.add("ReduceMean", [logs], axes=[1], keepdims=0)
    if plan.n_features:
        other = graph.add("LogSoftmax", [_add_feature_network(graph, plan)], axis=1)
        own = graph.add("Mul", [answer, graph.constant(np.array([1 - plan.share], np.float32))])
        other = graph.add("Mul", [other, graph.constant(np.array([plan.share], np.float32))])
        answer = graph.add("Add", [own, other])
    return graph.compose("skinmnist", answer, ("n", plan.n_classes))


def gather_views(plan: NetworkPlan) -> npt.NDArray[np.int32]:
    """Return the pixel index for each position, shape (views, channels of a block, height, width).

    Rotation, mirroring, reflection padding and folding blocks into channels only move pixels, so a single
    gather operation performs all of them.
    """
    height, width, channels = plan.shape
    places = np.arange(height * width * channels, dtype=np.int32).reshape(plan.shape)
    below, right = -height % plan.block, -width % plan.block
    views = []
    for view in range(plan.views):
        turned = places[:, ::-1] if view & 1 else places
        turned = turned[::-1] if view & 2 else turned
        turned = turned.transpose(1, 0, 2) if view & 4 else turned
        padded = np.pad(turned, ((0, below), (0, right), (0, 0)), "symmetric")
        rows, columns = padded.shape[0] // plan.block, padded.shape[1] // plan.block
        blocks = padded.reshape(rows, plan.block, columns, plan.block, channels)
        views.append(blocks.transpose(1, 3, 4, 0, 2).reshape(-1, rows, columns))
    return np.stack(views)


def _add_stages(graph: _NetworkGraph, grid: str, plan: NetworkPlan) -> str:
    """Add the convolutional stages, with each normalisation folded into the preceding convolution."""
    inputs = plan.shape[2] * plan.block**2
    for stage, (outputs, pairs) in enumerate(zip(plan.channels, plan.pairs, strict=True), start=1):
        if stage > 1:
            odd = [side % 2 for side in plan.grids[stage - 2]]
            grid = graph.add("MaxPool", [grid], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, *odd])
        grid = graph.add("Relu", [graph.convolution(grid, f"stage{stage}_conv", inputs, outputs)])
        for pair in range(pairs):
            name = f"stage{stage}_pair{pair}"
            inner = graph.add("Relu", [graph.convolution(grid, f"{name}_first", outputs, outputs)])
            inner = graph.convolution(inner, f"{name}_second", outputs, outputs)
            grid = graph.add("Relu", [graph.add("Add", [grid, inner])])
        inputs = outputs
    return grid


def _add_feature_network(graph: _NetworkGraph, plan: NetworkPlan) -> str:
    layer = graph.input("features", "float32", ("n", plan.n_features))
    inputs = plan.n_features
    for position, units in enumerate(plan.hidden, start=1):
        layer = graph.add("Relu", [graph.dense(layer, f"hidden{position}", inputs, units)])
        inputs = units
    return graph.dense(layer, "feature_logits", inputs, plan.n_classes)
