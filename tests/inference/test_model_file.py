"""What is packed is a ZIP to others, and only what is packed here is read."""

import io
import json
import re
import zipfile

import pytest
from hostile import repacked, set_in

from skinmnist.datasets.decoding import decode_members
from skinmnist.errors import InputError
from skinmnist.inference.manifest import UnreadableError
from skinmnist.inference.model_file import decode_model, is_model, pack, read_model

MEMBERS = {"manifest.json": b"{}", "long.npy": bytes(1000), "a_1.npy": b""}


def test_what_is_packed_is_decoded():
    assert decode_members(pack(MEMBERS)) == MEMBERS
    assert is_model(pack(MEMBERS)[:60])
    assert not is_model(pack({"a.npy": b""}))


def test_other_programs_open_it():
    with zipfile.ZipFile(io.BytesIO(pack(MEMBERS))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS


@pytest.mark.parametrize("name", ["../a.npy", "a/b.npy", "a/", "a.exe", ".npy", "a\x1b.npy", "x.onnx"])
def test_odd_names_are_refused(name, tiny):
    with pytest.raises(UnreadableError, match="more than its manifest and arrays"):
        decode_model(repacked(tiny, **{name.replace(".", "__"): b"x"}))


def test_every_byte_of_the_shell_counts(tiny):
    start = tiny.rindex(b".npy") - 300
    for place in [*range(0, 44), *range(start, len(tiny), 7)]:
        changed = bytearray(tiny)
        changed[place] ^= 1
        with pytest.raises(UnreadableError):
            decode_model(bytes(changed))


def test_a_file_of_an_earlier_version_is_refused_with_the_way_to_a_new_one(tiny, tmp_path):
    path = tmp_path / "old.skm"
    path.write_bytes(repacked(tiny, set_in("format", to=1)))
    message = f"{path} is not a usable model file: its format is 1, but this version of skinmnist reads 2; "
    with pytest.raises(
        InputError, match=re.escape(message) + ".*train the model again with `skinmnist train`"
    ):
        read_model(path)


def test_the_manifest_lists_what_the_file_holds(tiny):
    members = decode_members(tiny)
    manifest = json.loads(members.pop("manifest.json"))
    assert {name: one["bytes"] for name, one in manifest["members"].items()} == {
        name: len(member) for name, member in members.items()
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_incomplete(share, tiny, tmp_path):
    path = tmp_path / "cut.skm"
    path.write_bytes(tiny[: int(share * len(tiny))])
    with pytest.raises(InputError, match="usable model file: it is damaged or incomplete; name another"):
        read_model(path)
