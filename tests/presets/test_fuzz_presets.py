"""Altered presets: refused in one sentence, or read as they are written; never anything else."""

import json
import math
import tomllib

import pytest
from alterations import QUIETLY, altered_bytes, altered_values, check_sentence
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from skinmnist.errors import InputError
from skinmnist.models.blueprints import LAYER_KEYS
from skinmnist.presets.presets import read_preset

WHOLE = {
    "system": {
        "title": "A system",
        "choices": ["a", "b"],
        "folds": 3,
        "holdout": True,
        "sampler": "RandomOverSampler",
        "size": "28x28",
    },
    "claims": {"accuracy": 0.9, "loss": 1},
    "networks": [
        {"name": "net", "title": "Net", "layers": [{"convolution": 4}, {"flatten": True}, {"dense": 3}]},
        {"name": "other", "like": "net", "batch_norm_after": ["dense"]},
    ],
    "training": {"epochs": 2, "learning_rate": 0.001, "monitor": "accuracy", "stop_patience": 2},
    "augmentation": {"rotation": 10, "flip": "horizontal", "copies_only": False},
    "published": {"by_image": True, "sampler_first": True},
}
VALUES = st.one_of(
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([2**63, -(10**400), 10**400, math.nan, math.inf, -math.inf, 1e-320, 0.5]),
    st.sampled_from(["", "none", "SMOTE", "net", "a\nb", "\0", "\x1b[2J", "x" * 300, "7x0", "\u0663x28"]),
    st.sampled_from([[], {}, [[]], [{}], [1], ["net"], {"dense": 2}, [{"flatten": 1}], [{"dropout": 0}]]),
)
KEYS = st.sampled_from(["like", "layers", "name", "kernel", "padding", "dense", "rows", "a\nb", "\x1b", ""])
#: Brackets that nobody can follow, numbers that nobody can read, and a date, which JSON does not have.
TOKENS = [b"", b'"', b"[", b"[" * 2000, b"{", b"\n", b"\0", b"\xff", b"9" * 5000, b"=", b"'''", b"1979-05-27"]


def as_toml(value):
    """Write a value of TOML inline; a text of JSON is one of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def written(content):
    return "".join(f"{json.dumps(key)} = {as_toml(value)}\n" for key, value in content.items()).encode()


def altered_presets():
    """Draw the file of a preset with something wrong with it."""
    values = altered_values(WHOLE, VALUES, KEYS).map(written)
    return values | altered_bytes(written(WHOLE), TOKENS)


def check(content, path):
    """Return whether a preset was accepted; what was accepted must be what is written."""
    path.write_bytes(content)
    try:
        preset = read_preset(path)
    except InputError as error:
        return check_sentence(str(error), path)
    said = tomllib.loads(content.decode())
    for part, table in (
        (preset.head, "system"),
        (preset.training, "training"),
        (preset.augmentation, "augmentation"),
        (preset.published, "published"),
    ):
        for key, value in said.get(table, {}).items():
            found = getattr(part, key)
            assert (list(found) if isinstance(value, list) else found) == value
            assert not isinstance(value, float) or math.isfinite(value)
    assert preset.claims == {key: float(value) for key, value in said.get("claims", {}).items()}
    assert [network.name for network in preset.networks] == [table["name"] for table in said["networks"]]
    for network, table in zip(preset.networks, said["networks"], strict=True):
        kinds = [layer.kind for layer in network.blueprint.layers if layer.kind != "batch_norm"]
        said_kinds = [key for layer in table.get("layers", ()) for key in layer if key in LAYER_KEYS]
        assert "like" in table or kinds == [kind for kind in said_kinds if kind != "batch_norm"]
    assert all(len(spec.fingerprint) == 64 for spec in preset.models().values())
    return True


def test_the_plain_one_is_read(tmp_path):
    assert check(written(WHOLE), tmp_path / "mine.toml")


@settings(max_examples=400, derandomize=True, **QUIETLY)
@given(altered_presets())
# Found by the long form.
@example(b"a = " + b"[" * 2000)
@example(b"a = " + b"9" * 5000)
@example(written(WHOLE | {"networks": [1]}))
@example(written(WHOLE | {"networks": [{"name": "net", "like": []}]}))
@example(written(WHOLE | {"networks": [{"name": "net", "layers": 1}]}))
@example(written(WHOLE | {"networks": [{"name": "net", "layers": [{"flatten": True, "kernel": 10**400}]}]}))
@example(written(WHOLE | {"networks": [{"name": "n", "layers": [{"flatten": True}], "batch_norm_after": 1}]}))
@example(written(WHOLE | {"training": {"learning_rate": math.inf}}))
@example(written(WHOLE | {"claims": {"accuracy": 10**400}}))
@example(written(WHOLE | {"claims": {"a\nb": 1}}))
@example(written(WHOLE | {"system": {"title": "x" * 3000, "size": "x" * 3000}}))
def test_altered_presets(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp() / "mine.toml")


@pytest.mark.slow
def test_ten_thousand_altered_presets(tmp_path):
    verdicts = []

    @settings(max_examples=10_000, phases=[Phase.generate], **QUIETLY)
    @given(altered_presets())
    def many(content):
        verdicts.append(check(content, tmp_path / "mine.toml"))

    many()
    print(f"\n{len(verdicts):,} altered presets, {sum(verdicts):,} accepted and read as they are written")
