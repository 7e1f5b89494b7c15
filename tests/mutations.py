"""Run folders that somebody has meddled with: seeded changes of ``run.json`` and of stored cells."""

import hashlib
import io
import json
import math

import numpy as np

CHECKSUM = 64
VALUES = [
    None,
    True,
    -1,
    0,
    2,
    3.5,
    10**30,
    -(2**70),
    math.nan,
    math.inf,
    "",
    "x",
    "../../etc/passwd",
    "\ud800",
    "x" * 5000,
    [],
    {},
    [[1]],
    {"a": None},
    [0] * 1000,
]


def mutate_json(content, rng):
    """Return the text of some JSON with one value replaced, left out, turned round, doubled or exchanged."""
    whole = json.loads(content)
    places = list(_places(whole))
    node, key = places[rng.integers(len(places))]
    way = rng.integers(6)
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node[key], list):
        node[key] = node[key][::-1]
    elif way == 2 and isinstance(node[key], list):
        node[key] = node[key] + node[key][-1:]
    elif way == 3:
        other, name = places[rng.integers(len(places))]
        node[key] = json.loads(json.dumps(other[name]))
    elif way == 4:
        for _ in range(int(rng.choice([1, 40, 2000]))):
            node[key] = [node[key]]
    else:
        node[key] = VALUES[rng.integers(len(VALUES))]
    try:
        return json.dumps(whole)
    except RecursionError:
        return "[" * 5000


def _places(node):
    for key, value in list(node.items()) if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


COUNTS, MIXES = ("counts_before", "counts_after"), ("natural_mix", "training_mix")
ARRAYS = ("rows", "labels", "probabilities", *COUNTS, *MIXES, "meta")


def _with_one(array, rng, value):
    array = array.copy()
    array.reshape(-1)[rng.integers(array.size)] = value
    return array


#: Each turns an array of any shape into one that no cell holds.
WAYS = [
    lambda array, rng: array[: rng.integers(len(array))],
    lambda array, rng: np.concatenate([array, array]),
    lambda array, rng: array.reshape(-1, 1, 1),
    lambda array, rng: array.reshape(-1)[0],
    lambda array, rng: array.astype("U8"),
    lambda array, rng: array.astype(complex),
    lambda array, rng: array.astype(np.float16 if array.dtype.kind == "f" else np.int16),
    lambda array, rng: array.astype(bool),
    lambda array, rng: np.full(array.shape, "2020-01-01", "M8[s]"),
    lambda array, rng: np.zeros(array.shape, [("a", "i4")]),
    lambda array, rng: np.array([{}] * len(array), dtype=object),
    lambda array, rng: _with_one(
        array.astype(array.dtype if array.dtype.kind == "f" else float), rng, np.nan
    ),
    lambda array, rng: _with_one(array, rng, -1) if array.dtype.kind != "u" else array[::-1],
    lambda array, rng: np.zeros(0, array.dtype),
]
HUGE = [2**40, 10**9]


def _swapped(arrays, rng):
    """Exchange two arrays that are not alike; those before and after a sampler may be any."""
    while True:
        first, second = rng.choice(ARRAYS, 2, replace=False)
        alike = any({first, second} <= set(names) for names in (COUNTS, MIXES))
        if not alike and not np.array_equal(arrays[first], arrays[second]):
            return arrays | {first: arrays[second], second: arrays[first]}


def _meta(arrays, rng):
    """Change what a cell says beside its arrays."""
    meta = json.loads(arrays["meta"].tobytes())
    key = str(rng.choice(["cell", "timing", "provenance"]))
    if key not in meta or rng.random() < 0.3:
        meta.pop(key, None)
    else:
        place = rng.integers(len(meta[key]))
        meta[key][place] = [None, "other", -1, [1], {"a": 1}, math.nan, 10**40][rng.integers(7)]
    return arrays | {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}


def _rows(arrays, rng):
    """Hold out other rows, or give them other labels."""
    name = str(rng.choice(["rows", "labels"]))
    changed = rng.permutation(arrays[name])
    changed[rng.integers(len(changed))] += int(rng.choice([-1, 1]))
    return arrays | {name: changed}


def _probabilities(arrays, rng):
    """Answer with what are no probabilities."""
    values = arrays["probabilities"].copy()
    row = rng.integers(len(values))
    values[row] = [np.nan, np.inf, -np.inf, 0.0, 1.0, -0.25, 1e300][rng.integers(7)]
    return arrays | {"probabilities": values}


def _large(arrays, rng):
    name = str(rng.choice(["rows", "labels"]))
    return arrays | {name: _with_one(arrays[name], rng, HUGE[rng.integers(2)])}


def _absent(arrays, rng):
    name = str(rng.choice(ARRAYS))
    return {key: value for key, value in arrays.items() if key != name}


def _one_array(arrays, rng):
    name = str(rng.choice(ARRAYS))
    return arrays | {name: WAYS[rng.integers(len(WAYS))](arrays[name], rng)}


def _more(arrays, rng):
    """Add a training curve or an example that is none."""
    name = str(rng.choice(["history_loss", "examples_parents", "examples_labels"]))
    return arrays | {name: np.array([[1, 2], [3, 4]]).astype(str(rng.choice(["U2", "i8", "f4"])))}


MUTATIONS = [
    _one_array,
    _one_array,
    _one_array,
    _swapped,
    _meta,
    _rows,
    _probabilities,
    _large,
    _absent,
    _more,
]


def mutate_cell(arrays, rng):
    """Return the arrays of a cell with one thing wrong in them."""
    return MUTATIONS[rng.integers(len(MUTATIONS))](arrays, rng)


def unpack_cell(content):
    with np.load(io.BytesIO(content[CHECKSUM:])) as archive:
        return dict(archive)


def pack_cell(arrays):
    """Return the file of a cell, with the right checksum."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    payload = buffer.getvalue()
    return hashlib.sha256(payload).hexdigest().encode() + payload
