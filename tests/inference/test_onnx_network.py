"""The ONNX that is composed here is ONNX to others."""

import numpy as np
import pytest

from skinmnist.inference.manifest import Arrays, UnreadableError
from skinmnist.inference.onnx_network import NetworkPlan, Session, compose_network, gather_views, varint

PLANS = {
    "square": NetworkPlan((9, 9, 3), 5, 2, (4, 6), (0, 1), 8),
    "oblong": NetworkPlan((5, 7, 1), 2, 1, (4, 6, 8), (1, 0, 0), 4),
    "two networks": NetworkPlan((8, 8, 3), 3, 1, (4,), (0,), 2, n_features=11, hidden=(6, 5), share=0.25),
}


def trained(plan, seed=0):
    """Return tensors of a plan, as if they had been trained, by name."""
    rng = np.random.default_rng(seed)
    tensors = {}

    def take(name, shape):
        tensors[name] = rng.normal(0, 0.3, shape).astype(np.float32)
        return tensors[name]

    compose_network(plan, take)
    tensors["spread"] = np.abs(tensors["spread"]) * 30 + 40
    return tensors


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def test_onnx_finds_no_fault(plan):
    onnx = pytest.importorskip("onnx")
    tensors = trained(plan)
    model = onnx.load_from_string(compose_network(plan, Arrays(tensors).floats))
    onnx.checker.check_model(model, full_check=True)
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name], values)


def test_plans_are_read_from_a_manifest(plan):
    head = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(plan).items()}
    head["features"] = plan.n_features
    assert NetworkPlan.read(head, plan.shape, plan.n_classes, plan.n_features) == plan
    with pytest.raises(UnreadableError, match="'features' is not one of 99"):
        NetworkPlan.read(head, plan.shape, plan.n_classes, 99)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": np.zeros(3, np.float32)}, "array centre is float32 of 3, expected 1 x 12 x 1 x 1"),
        ({"centre": np.full((1, 12, 1, 1), np.nan, np.float32)}, "array centre is not finite"),
        ({"logits_kernel": np.zeros((12, 5), int)}, "array logits_kernel is int64"),
    ],
)
def test_only_tensors_that_fit_the_plan_are_taken(change, message):
    plan = PLANS["square"]
    with pytest.raises(UnreadableError, match=message):
        Session(plan, Arrays({**trained(plan), **change}).floats)


def test_every_view_of_a_picture_gets_the_same_answer():
    plan = PLANS["square"]
    session = Session(plan, Arrays(trained(plan)).floats)
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
    assert sum(values.nbytes for values in trained(plan).values()) < 2_500_000


@pytest.mark.parametrize(
    ("value", "expected"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")]
)
def test_varint(value, expected):
    """The examples of the documentation of Protocol Buffers."""
    assert varint(value) == expected
