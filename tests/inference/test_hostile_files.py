"""What is no honest model file is refused in one sentence, at once, and without much memory."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import hostile
import numpy as np
import pytest
from PIL import Image

from skinmnist.datasets.decoding import decode_members
from skinmnist.errors import InputError
from skinmnist.inference.classifier import load_classifier
from skinmnist.inference.model_file import pack

#: Of the process, against 500 MB that a file may take.
MOST_GROWTH_MB, MOST_SECONDS = 300, 2.0


@pytest.fixture(scope="module")
def forest(saved):
    return saved("random_forest").content


def refused(path: Path) -> bool:
    """Load a file; tell whether it was refused. Whatever else happens fails the test."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    loaded, sentence = None, ""
    try:
        loaded = load_classifier(path)
    except InputError as error:
        sentence = str(error)
    if loaded is None:
        assert re.fullmatch(r"[^\n]{20,400}", sentence), sentence
    else:
        rows = np.zeros((1, int(np.prod(loaded.shape))), np.uint8)
        assert np.isfinite(loaded.predict_proba(rows)).all()
    assert time.process_time() - start < MOST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH_MB * 1024
    return loaded is None


def test_honest_files_are_read(tiny, forest, tmp_path):
    for content in (tiny, forest, hostile.repacked(tiny)):
        (tmp_path / "model.skm").write_bytes(content)
        assert not refused(tmp_path / "model.skm")


def test_every_hostile_file_is_refused(tiny, forest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = hostile.network_files(tiny) | hostile.forest_files(forest)
    assert len(files) >= 50
    for name, content in files.items():
        assert content not in (tiny, forest), name
        Path("model.skm").write_bytes(content)
        assert refused(Path("model.skm")), f"{name} was read"
    assert [file.name for file in tmp_path.iterdir()] == ["model.skm"], "something was executed"


def test_no_file_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.skm")
    for path in (tmp_path, tmp_path / "none.skm", tmp_path / "pipe.skm"):
        with pytest.raises(InputError, match="cannot be read"):
            load_classifier(path)


def test_too_large_a_file_is_not_read(tmp_path):
    with (tmp_path / "large.skm").open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(2**36)
    assert refused(tmp_path / "large.skm")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, or cut, double or move a piece."""
    changed = bytearray(content)
    kind = rng.integers(5)
    first, second = sorted(rng.integers(0, len(changed), 2).tolist())
    if kind <= 1:
        for place in rng.integers(0, len(changed), rng.integers(1, 9)):
            changed[place] = rng.integers(256)
    elif kind == 2:
        del changed[first : min(second, first + 1000)]
    elif kind == 3:
        changed[first:first] = changed[first : min(second, first + 100)]
    else:
        changed[first : first + 8] = rng.choice([b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7])
    return bytes(changed)


def mutated_inside(content: bytes, rng: np.random.Generator) -> bytes:
    """Change one member and let the manifest tell the truth about it: only its meaning can be wrong."""
    members = decode_members(content)
    name = str(rng.choice(list(members)))
    if name != "manifest.json":
        return hostile.repacked(content, **{name.replace(".", "__"): mutated(members[name], rng)})
    text = members[name].decode()
    places = [match.span() for match in re.finditer(r'-?\d+(\.\d+)?|"\w*"|true|false|null|\[|\]', text)]
    start, end = places[rng.integers(len(places))]
    odd = ["-1", "0", "1e308", "9" * 20, "9" * 400, "null", "[]", "{}", '"x"', "true", "2", "NaN", ""]
    return pack({**members, name: (text[:start] + rng.choice(odd) + text[end:]).encode()})


@pytest.mark.parametrize(
    ("mutate", "count"),
    [
        (mutated, 300),
        (mutated_inside, 120),
        pytest.param(mutated, 700, marks=pytest.mark.slow),
        pytest.param(mutated_inside, 300, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("model", ["cnn_tiny", "random_forest"])
def test_mutated_files(model, mutate, count, saved, tmp_path):
    content = saved(model).content
    rng = np.random.default_rng(0)
    path = tmp_path / "model.skm"
    n_refused = n_changed = 0
    for _ in range(count):
        changed = mutate(content, rng)
        path.write_bytes(changed)
        n_refused += refused(path)
        n_changed += changed != content
    assert n_changed > 0.9 * count
    assert n_refused > count / 3
    if mutate is mutated:
        assert n_refused == n_changed


def test_predicting_imports_nothing_that_trains(tiny, tmp_path):
    (tmp_path / "model.skm").write_bytes(tiny)
    Image.fromarray(np.full((20, 20, 3), 99, np.uint8)).save(tmp_path / "a.png")
    code = """
import sys
from skinmnist.predict import main
from skinmnist import classify_image
model, picture = sys.argv[1:]
assert main([model, picture, "--explain"]) == 0
classify_image(picture, model)._repr_html_()
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "model.skm"), str(tmp_path / "a.png")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "a.png-explained.png").is_file()
    modules = set(json.loads(found.stdout.splitlines()[-1].replace("'", '"')))
    heavy = {"tensorflow", "keras", "sklearn", "scipy", "pandas", "imblearn", "matplotlib", "joblib", "onnx"}
    assert not modules & heavy
    assert {"onnxruntime", "numpy", "PIL"} <= modules
