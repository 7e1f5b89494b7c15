"""Model files that mean ill, made of an honest one."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np

from skinmnist.datasets.decoding import decode_array, decode_members, encode_array
from skinmnist.inference.model_file import list_members, pack
from skinmnist.inference.onnx_network import Graph, message, text, whole_field


def repacked(content, change=None, **members):
    """Change a file and make its manifest tell the truth about the members again.

    `change` alters the manifest in place; members are given by name without suffix as arrays, or as bytes
    by name with ``__`` for the dot; None leaves one out.
    """
    found = decode_members(content)
    manifest = json.loads(found.pop("manifest.json"))
    for name, value in members.items():
        full = name.replace("__", ".") if "__" in name else f"{name}.npy"
        if value is None:
            del found[full]
        else:
            found[full] = value if isinstance(value, bytes) else encode_array(np.asarray(value))
    manifest["members"] = list_members(found)
    if change:
        change(manifest)
    return pack({"manifest.json": json.dumps(manifest).encode(), **found})


def rezipped(content, method=zipfile.ZIP_STORED, comment=b"", extra=()):
    """Pack a file with another program, more members behind its own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, member in decode_members(content).items():
            archive.writestr(name, member)
        for name, member in extra:
            archive.writestr(name, member)
        archive.comment = comment
    return stream.getvalue()


def set_in(*path, to):
    """Return a change of the manifest."""

    def change(manifest):
        place = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


class Trap:
    def __reduce__(self):
        return os.system, ("touch trapped",)


def symlink():
    info = zipfile.ZipInfo("more.npy")
    info.external_attr = 0o120777 << 16
    return info


def lying_header(content):
    """Claim four gigabytes of the first member."""
    changed = bytearray(content)
    struct.pack_into("<2I", changed, 18, 2**32 - 1, 2**32 - 1)
    return bytes(changed)


def overlapping(content):
    """Let every entry of the directory point at the first member."""
    changed, place = bytearray(content), content.find(b"PK\x01\x02")
    while place >= 0:
        struct.pack_into("<I", changed, place + 42, 0)
        place = content.find(b"PK\x01\x02", place + 1)
    return bytes(changed)


def bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(64 * 2**20))
    return stream.getvalue()


def many_members():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(5000):
            archive.writestr(f"m{number}.npy", b"")
    return stream.getvalue()


def foreign_network(operator="Loop"):
    """A graph of another kind, with a loop in it where asked for."""
    graph = Graph()
    pictures = graph.input("pictures", "uint8", ("n", 192))
    found = graph.add(operator, [graph.add("Cast", [pictures], to=1)])
    return graph.compose("x", found, ("n", 7))


def external_network():
    """A tensor whose numbers stand in a file of the reader's."""
    where = message(13, text(1, "location") + text(2, "/etc/passwd"))
    dims = whole_field(1, 7) + whole_field(2, 1)
    tensor = message(5, dims + text(8, "centre") + where + whole_field(14, 1))
    return whole_field(1, 8) + message(7, text(2, "x") + tensor)


def not_finite(values):
    changed = np.array(values)
    changed.flat[0] = np.nan
    return changed


def npy(header, numbers=b""):
    text_ = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text_).to_bytes(2, "little") + text_ + numbers


def alone(content, change):
    """Leave nothing but the manifest, and change that."""
    manifest = json.loads(decode_members(content)["manifest.json"])
    change(manifest)
    return pack({"manifest.json": json.dumps(manifest).encode()})


def high_tree(depth=20_000):
    """A tree that is one long branch: every other node is a leaf."""
    place = np.arange(2 * depth + 1)
    inner = (place % 2 == 0) & (place < 2 * depth)
    return {
        "tree_root": np.int32([0]),
        "node_column": np.zeros(len(place), np.int32),
        "node_threshold": np.zeros(len(place), np.float32),
        "node_left": np.where(inner, place + 1, place).astype(np.int32),
        "node_right": np.where(inner, place + 2, place).astype(np.int32),
        "node_leaf": np.zeros(len(place), np.int32),
    }


EXABYTES = "'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), "
YEARS = {
    "kind": "network",
    "channels": [512] * 6,
    "pairs": [4] * 6,
    "block": 1,
    "views": 8,
    "features": 0,
    "hidden": [],
    "share": 0.0,
}


def wide_network(manifest):
    """Ask for one grid of 256 x 256 x 512 numbers."""
    manifest["shape"] = [256, 256, 3]
    manifest["answer"]["head"] |= {"channels": [512], "pairs": [0], "views": 1, "block": 1}


def network_files(content):
    """Hostile files by name, made of the file of a network."""
    half = len(content) // 2
    members = decode_members(content)
    centre = decode_array(members["centre.npy"], "centre")
    swapped = {**members, "novelty_mean.npy": members["novelty_scale.npy"]}
    swapped["novelty_scale.npy"] = members["novelty_mean.npy"]
    head = ("answer", "head")
    return {
        "nothing": b"",
        "a text": b"not a model at all\n",
        "a renamed pickle": pickle.dumps(Trap()),
        "a pickle behind the mark of a ZIP": b"PK\x03\x04" + pickle.dumps(Trap()),
        "a bomb": bomb(),
        "thousands of members": many_members(),
        "compressed": rezipped(content, zipfile.ZIP_DEFLATED),
        "a member outside": rezipped(content, extra=[("../../outside.npy", b"x")]),
        "a member at the root": rezipped(content, extra=[("/etc/outside.npy", b"x")]),
        "a link": rezipped(content, extra=[(symlink(), b"/etc/passwd")]),
        "a comment": rezipped(content, comment=b"hello"),
        "a member twice": content.replace(b"novelty_mean.npy", b"novelty_rest.npy"),
        "entries that overlap": overlapping(content),
        "a size that lies": lying_header(content),
        "half of it": content[:half],
        "all but the last byte": content[:-1],
        "something behind it": content + b"x",
        "something before it": b"x" + content,
        "members that changed places": pack(swapped),
        "another hash": repacked(content, set_in("members", "centre.npy", "sha256", to="0" * 64)),
        "a member that is missing": repacked(content, centre=None),
        "a member too many": repacked(content, more=np.float32([1])),
        "a name that steers the terminal, of a member": repacked(content, **{"\x1b[2J": np.float32([1])}),
        "a name of thousands of characters": repacked(content, **{"x" * 60_000: np.float32([1])}),
        "no manifest": pack({"centre.npy": members["centre.npy"]}),
        "a manifest of megabytes": pack({**members, "manifest.json": b'{"a": "' + b"x" * 10**7 + b'"}'}),
        "a manifest of brackets": pack({**members, "manifest.json": b"[" * 200_000}),
        "a manifest of digits": pack({**members, "manifest.json": b'{"format": ' + b"9" * 200_000 + b"}"}),
        "a score beyond all floats": repacked(
            content, set_in("scores", to={"metrics": {"x": {"mean": 10**400, "sd": 0.1}}})
        ),
        "a spread beyond all floats": repacked(
            content, set_in("scores", to={"metrics": {"x": {"mean": 0.5, "sd": 10**400}}})
        ),
        "a list of members that is a number": alone(content, set_in("members", to=5)),
        "another format": repacked(content, set_in("format", to=1)),
        "a picture of gigabytes": repacked(content, set_in("shape", to=[10**9, 10**9, 3])),
        "a picture of less than nothing": repacked(content, set_in("shape", to=[-8, 8, 3])),
        "another picture": repacked(content, set_in("shape", to=[16, 8, 3])),
        "true for a number": repacked(content, set_in("shape", to=[8, 8, True])),
        "a name that steers the terminal": repacked(content, set_in("classes", 0, "name", to="\x1b[2Jnv")),
        "two classes of one name": repacked(content, set_in("classes", 0, "name", to="nv")),
        "codes out of order": repacked(content, set_in("answer", "codes", to=[6, 5, 4, 3, 2, 1, 0])),
        "a network of years": repacked(content, set_in("answer", "head", to=YEARS)),
        "a network of gigabytes": repacked(content, wide_network),
        "another network": repacked(content, set_in(*head, "pairs", to=[1, 1])),
        "answers that are not its own": repacked(content, set_in("probe", to=[[1, *[0] * 6]] * 2)),
        "a head that is none": repacked(content, set_in(*head, "kind", to="__import__")),
        "a loop in the network": repacked(content, network__onnx=foreign_network("Loop")),
        "numbers of the network elsewhere": repacked(content, network__onnx=external_network()),
        "noise for a network": repacked(content, network__onnx=bytes(range(256)) * 40),
        "a network for an array": repacked(content, centre__npy=foreign_network("Relu")),
        "a tensor of another shape": repacked(content, centre=centre.ravel()),
        "a tensor of another type": repacked(content, centre=centre.astype(np.int64)),
        "a tensor of texts": repacked(content, centre=centre.astype(str)),
        "a tensor of exabytes": repacked(content, centre__npy=npy(f"{{{EXABYTES}}}")),
        "a tensor with more behind it": repacked(content, centre__npy=members["centre.npy"] + b"\x08\x01"),
        "a tensor that is cut off": repacked(content, centre__npy=members["centre.npy"][:-1]),
        "a network that is not finite": repacked(content, centre=not_finite(centre)),
        "a network beyond float32": repacked(content, centre=np.full(centre.shape, 1e300)),
        "an array of objects": repacked(
            content, novelty_mean__npy=npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")
        ),
        "an array of exabytes": repacked(
            content,
            novelty_mean__npy=npy(f"{{{EXABYTES}}}"),
        ),
        "an array whose header is code": repacked(
            content, novelty_mean__npy=npy("{'descr': __import__('os').system('touch trapped')}")
        ),
        "an array that is not finite": repacked(content, novelty_mean=np.full(161, np.nan, np.float32)),
    }


def forest_files(content):
    """Hostile files by name, made of the file of a forest."""
    left = np.load(io.BytesIO(decode_members(content)["node_left.npy"]))
    ring = left.copy()
    ring[left.argmax()] = 1
    return {
        "a tree of a thousand steps": repacked(content, **high_tree()),
        "a tree that bites its tail": repacked(content, node_left=ring),
        "a column that is not there": repacked(content, node_column=np.full(len(left), 10**6, np.int32)),
        "a node that is not there": repacked(content, node_left=np.full(len(left), 2**31 - 1, np.int32)),
        "a leaf that is not there": repacked(content, node_leaf=np.full(len(left), -1, np.int32)),
        "no leaf": repacked(content, leaf_value=np.empty((0, 7), np.float32)),
        "leaves below nothing": repacked(content, leaf_value=np.full((len(left), 7), -1, np.float32)),
        "steps that are none": repacked(content, set_in("answer", "steps", to=[{"kind": "os"}])),
    }
