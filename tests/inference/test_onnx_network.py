"""The ONNX that is written here is ONNX to others, and only what is written here is read."""

import numpy as np
import pytest

from skinmnist.inference.checks import UnreadableError
from skinmnist.inference.onnx_format import check_filled, fill, gaps, varint
from skinmnist.inference.onnx_network import NetworkPlan, compose_network, gather_views
from skinmnist.inference.session import Session

PLANS = {
    "square": NetworkPlan((9, 9, 3), 5, 2, (4, 6), (0, 1), 8),
    "oblong": NetworkPlan((5, 7, 1), 2, 1, (4, 6, 8), (1, 0, 0), 4),
    "two networks": NetworkPlan((8, 8, 3), 3, 1, (4,), (0,), 2, n_features=11, hidden=(6, 5), share=0.25),
}


def filled(plan, seed=0):
    rng = np.random.default_rng(seed)
    wanted = gaps(compose_network(plan))
    tensors = {gap.name: rng.normal(0, 0.3, gap.shape).astype(np.float32) for gap in wanted}
    tensors["spread"] = np.abs(tensors["spread"]) * 30 + 40
    return tensors, fill(compose_network(plan), tensors)


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def test_onnx_finds_no_fault(plan):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(filled(plan)[1])
    onnx.checker.check_model(model, full_check=True)
    kept = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, values in filled(plan)[0].items():
        np.testing.assert_array_equal(kept[name], values)


def test_plans_survive_the_manifest(plan):
    n_features = plan.n_features or 99
    assert NetworkPlan.read(plan.as_step(), plan.shape, plan.n_classes, n_features) == plan


def test_own_files_are_recognised_and_no_others(plan):
    tensors, content = filled(plan)
    check_filled(compose_network(plan), content)
    nothing = fill(compose_network(plan), {**tensors, "centre": tensors["centre"] * np.nan})
    other = NetworkPlan(**{**vars(plan), "views": 1})
    for pieces, found in (
        (compose_network(other), content),
        (compose_network(plan), content + b"\x00"),
        (compose_network(plan), content[:-1]),
        (compose_network(plan), content.replace(b"Relu", b"Loop")),
        (compose_network(plan), nothing),
    ):
        with pytest.raises(UnreadableError):
            check_filled(pieces, found)


def test_a_tensor_of_another_shape_is_not_written(plan):
    tensors, _ = filled(plan)
    with pytest.raises(ValueError, match="centre has the shape"):
        fill(compose_network(plan), {**tensors, "centre": np.zeros(3)})


def test_every_view_of_a_picture_gets_the_same_answer():
    plan = PLANS["square"]
    session = Session(filled(plan)[1], plan.values)
    picture = np.random.default_rng(1).integers(0, 256, plan.shape, dtype=np.uint8)
    views = [picture, picture[::-1], picture[:, ::-1], picture.transpose(1, 0, 2), np.rot90(picture)]
    found = session(np.stack(views).reshape(5, -1), None)
    np.testing.assert_allclose(found, np.tile(found[:1], (5, 1)), atol=1e-5)


def test_pixels_are_gathered_as_the_plan_says():
    plan = NetworkPlan((3, 2, 1), 2, 2, (4,), (0,), 1)
    # The third row is mirrored to make whole blocks: 0 1 / 2 3 / 4 5 / 4 5.
    expected = [[[0], [4]], [[1], [5]], [[2], [4]], [[3], [5]]]
    np.testing.assert_array_equal(gather_views(plan)[0], expected)


def test_the_default_network_makes_a_small_file():
    plan = NetworkPlan((28, 28, 3), 7, 2, (32, 64, 96), (0, 1, 1), 8)
    assert sum(map(len, compose_network(plan))) < 2_500_000


@pytest.mark.parametrize(
    ("value", "expected"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")]
)
def test_varint(value, expected):
    """The examples of the documentation of Protocol Buffers."""
    assert varint(value) == expected
