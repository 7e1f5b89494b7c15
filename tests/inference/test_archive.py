import io
import zipfile

import numpy as np
import pytest

from skinmnist.inference.archive import pack, unpack
from skinmnist.inference.arrays import Arrays, decode, encode
from skinmnist.inference.checks import UnreadableError

MEMBERS = {"manifest.json": b"{}", "network.onnx": bytes(1000), "a_1.npy": b""}


def test_what_is_packed_is_unpacked():
    assert unpack(pack(MEMBERS)) == MEMBERS


def test_other_programs_open_it():
    with zipfile.ZipFile(io.BytesIO(pack(MEMBERS))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS


@pytest.mark.parametrize("name", ["../a.npy", "a/b.npy", "A.npy", "a.exe", ".npy", "x" * 61 + ".npy"])
def test_odd_names_are_refused(name):
    with pytest.raises(UnreadableError):
        unpack(pack({**MEMBERS, name: b"x"}))


@pytest.mark.parametrize("place", range(0, 300, 7))
def test_every_byte_of_the_shell_counts(place):
    content = bytearray(pack({"a.npy": b"", "b.npy": b"", "c.npy": b""}))
    content[place % len(content)] ^= 1
    with pytest.raises(UnreadableError):
        unpack(bytes(content))


ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.float64([1.5]),
    np.int16(7),
    np.arange(8, dtype=np.int64).reshape(2, 2, 2).transpose(2, 0, 1),
    np.empty((0, 4), np.int32),
    np.arange(3, dtype=np.uint8),
    np.arange(3, dtype=">f4"),
]


@pytest.mark.parametrize("values", ARRAYS, ids=lambda values: f"{values.dtype.str}{values.shape}")
def test_arrays_are_what_numpy_writes(values):
    values = np.asarray(values)
    found = decode(encode(values))
    np.testing.assert_array_equal(found, values)
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).reshape(values.shape))
    assert encode(values) == stream.getvalue()


@pytest.mark.parametrize("values", [np.array([object()]), np.array(["x"]), np.array([True]), np.array([1j])])
def test_other_types_are_not_written(values):
    with pytest.raises(ValueError, match="cannot be kept in a model file"):
        encode(values)


def test_arrays_are_asked_for_by_shape():
    arrays = Arrays({"a": np.float32([[1, 2]]), "b": np.int32([3]), "c_x": np.float32([1])})
    for shape in ((2, 1), (2,), (1, 2, 1)):
        with pytest.raises(UnreadableError):
            Arrays({"a": np.float32([[1, 2]])}).floats("a", shape)
    assert arrays.floats("a", (None, 2)).tolist() == [[1, 2]]
    with pytest.raises(UnreadableError, match="it has no a"):
        arrays.floats("a", (None, 2))
    with pytest.raises(UnreadableError, match="reaches beyond"):
        arrays.integers("b", (1,), 0, 2)
    assert list(arrays.beginning("c_")) == ["x"]
    arrays.check_empty()
