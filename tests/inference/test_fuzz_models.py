"""Altered model files: refused in one sentence, or answering with probabilities; never anything else."""

import json

import hostile
import numpy as np
import pytest
from alterations import QUIETLY, altered_bytes, altered_values, check_sentence
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from skinmnist.datasets.decoding import decode_members
from skinmnist.errors import InputError
from skinmnist.inference.classifier import load_classifier
from skinmnist.inference.manifest import MANIFEST
from skinmnist.inference.model_file import pack

#: Marks of ZIP and of arrays, sizes that tip over, numbers that are none.
TOKENS = [b"", b"PK\3\4", b"PK\1\2", b"\x93NUMPY", b"\xff" * 4, b"\0" * 8, b"\0\0\xc0\x7f", b"../", b"O8"]


@st.composite
def altered_inside(draw, content):
    """Draw a file with something wrong with one member, of which its manifest tells the truth."""
    members = decode_members(content)
    manifest = json.loads(members.pop(MANIFEST))
    if draw(st.booleans()):
        changed = draw(altered_values(manifest))
        return pack({MANIFEST: json.dumps(changed).encode(), **members})
    name = draw(st.sampled_from(list(members)))
    return hostile.repacked(content, **{name.replace(".", "__"): draw(altered_bytes(members[name], TOKENS))})


def check_model(content, path):
    """Return whether a file was read; what was read must answer."""
    path.write_bytes(content)
    try:
        loaded = load_classifier(path)
    except InputError as error:
        return check_sentence(str(error), path, most=600)
    rows = np.zeros((2, int(np.prod(loaded.shape))), np.uint8)
    rows[1] = np.arange(rows.shape[1]) % 256
    answers = loaded.predict_proba(rows)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-4)
    assert (answers >= 0).all()
    return True


def altered_models(content):
    return altered_bytes(content, TOKENS) | altered_inside(content)


@pytest.mark.parametrize("model", ["cnn_tiny", "random_forest"])
def test_altered_models(saved, tmp_path, model):
    whole = saved(model).content
    assert check_model(whole, tmp_path / "model.skm")

    @settings(max_examples=100, derandomize=True, **QUIETLY)
    @given(altered_models(whole))
    def many(content):
        check_model(content, tmp_path / "model.skm")

    many()


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["cnn_tiny", "random_forest", "svm", "hist_gradient_boosting", "logistic_regression"]
)
def test_thousands_of_altered_models(saved, tmp_path, model):
    whole, verdicts = saved(model).content, []

    @settings(max_examples=3000, phases=[Phase.generate], **QUIETLY)
    @given(altered_models(whole))
    def many(content):
        verdicts.append(check_model(content, tmp_path / "model.skm"))

    many()
    print(f"\n{model}: {len(verdicts):,} altered files, {sum(verdicts):,} read, all of which answer")
