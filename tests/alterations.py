"""Contents with something wrong with them, drawn by Hypothesis."""

import copy
import json

from hypothesis import HealthCheck
from hypothesis import strategies as st

#: Settings of every test that draws: nothing depends on how busy the machine is, or on what was drawn before.
QUIETLY = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
#: What is no answer to most questions.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["", "done", "failed", "pending", "../../etc/passwd", "\0", "x" * 300, "\ud800"]),
    st.just([]),
    st.just({}),
    st.just([[1]]),
    st.just({"sampler": 1}),
)


def places(node, way=()):
    """Yield the way to every value of nested lists and dicts."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*way, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*way, key))


@st.composite
def altered_values(draw, whole, values=VALUES, keys=None):
    """Draw a copy of nested lists and dicts with one to three values changed or left out.

    With keys to draw from, values are also added.
    """
    content = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        if not content:
            break
        *way, last = draw(st.sampled_from(list(places(content))))
        node = content
        for key in way:
            node = node[key]
        change = draw(st.sampled_from(["set", "drop"] if keys is None else ["set", "drop", "add"]))
        if change == "drop":
            del node[last]
        elif change == "add" and isinstance(node, dict):
            node[draw(keys)] = copy.deepcopy(draw(values))
        else:
            node[last] = copy.deepcopy(draw(values))
    return content


@st.composite
def altered_json(draw, content):
    return json.dumps(draw(altered_values(json.loads(content)))).encode()


@st.composite
def altered_bytes(draw, content, tokens=(b"",)):
    """Draw a copy of some bytes with one to three pieces cut short, left out or replaced."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 1, 1, 2, 10, 1000, 10**6])))
        new = st.sampled_from(tokens) | st.binary(max_size=8)
        content = content[:start] + draw(new) + content[stop:]
    return content


def check_sentence(sentence, path="", most=1000):
    """Check the one sentence that a reader refuses a content with; return False, for it was not accepted."""
    assert str(path) in sentence
    assert sentence.isprintable()
    assert len(sentence) < most
    return False
