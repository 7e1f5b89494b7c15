"""Golden picture files with a few bytes changed, cut out, doubled, or taken from another file."""

import struct
import zlib

import numpy as np
from golden_pictures import GOLDEN

SMALL = 200_000
#: Values at which lengths, sizes and signs tip over.
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def mutated_files(count, seed):
    """Yield (name, content) of so many changed files."""
    rng = np.random.default_rng(seed)
    files = [(n, c[0]) for n, c in GOLDEN.items() if isinstance(c[0], bytes) and 0 < len(c[0]) < SMALL]
    for _ in range(count):
        name, content = files[rng.integers(len(files))]
        changed = bytearray(content)
        for _ in range(int(rng.integers(1, 6))):
            changed = changes[rng.integers(len(changes))](changed, rng, files)
        yield name, with_right_sums(bytes(changed)) if rng.random() < 0.5 else bytes(changed)


def with_right_sums(content):
    """Return a PNG with the checksums that its chunks should have, so that what was changed is looked at."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    mended, place = bytearray(content), 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        end = place + 8 + length
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(mended[: len(content)])


def _place(content, rng):
    """Choose a place, half of the time within the first hundred bytes, where formats say what they are."""
    end = len(content) if rng.random() < 0.5 else min(len(content), 100)
    return int(rng.integers(end)) if end else 0


def _flip(content, rng, _):
    place = _place(content, rng)
    content[place : place + 1] = bytes(
        byte ^ 1 << int(rng.integers(8)) for byte in content[place : place + 1]
    )
    return content


def _replace(content, rng, _):
    place, length = _place(content, rng), int(rng.choice([1, 1, 2, 4]))
    content[place : place + length] = rng.integers(0, 256, length).astype(np.uint8).tobytes()
    return content


def _edge(content, rng, _):
    place, length = _place(content, rng), int(rng.choice([1, 2, 4]))
    content[place : place + length] = bytes([int(rng.choice(EDGES))]) * length
    return content


def _cut(content, rng, _):
    place = _place(content, rng)
    return content[:place] + content[place + int(rng.integers(1, 50)) :]


def _end(content, rng, _):
    return content[: _place(content, rng)]


def _double(content, rng, _):
    place = _place(content, rng)
    return content[: place + int(rng.integers(1, 200))] + content[place:]


def _graft(content, rng, files):
    other = files[rng.integers(len(files))][1]
    place, start = _place(content, rng), int(rng.integers(len(other)))
    return content[:place] + other[start : start + int(rng.integers(1, 300))] + content[place:]


changes = (_flip, _flip, _replace, _replace, _edge, _edge, _cut, _end, _double, _graft)
