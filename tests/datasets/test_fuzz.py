"""Altered tables and metadata: refused in one sentence, or read as a naive reader reads them."""

import csv
import io
import math

import numpy as np
import pytest
from alterations import QUIETLY, check_sentence
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skinmnist import facts
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.metadata import read_metadata
from skinmnist.errors import InputError

TABLE = (
    b"pixel0000,pixel0001,pixel0002,pixel0003,label\n"
    b"0,1,2,3,0\n10,200,255,7,1\n99,100,101,0,2\n5,5,5,5,1\n250,251,252,253,0\n"
)
METADATA = (
    b"lesion_id,image_id,dx,dx_type,age,sex,localization\n"
    b"HAM_1,ISIC_1,nv,histo,45.0,male,back\n"
    b'HAM_2,ISIC_2,"mel",histo,,female,"lower, extremity"\n'
    b"HAM_2,ISIC_3,mel,consensus,80,unknown,ear\n"
)
JOINED = (
    b"pixel0000,pixel0001,pixel0002,pixel0003,label\n0,1,2,3,0\n10,200,255,7,1\n99,100,101,0,1\n5,5,5,5,2\n",
    b"lesion_id,image_id,dx,sex\nH1,I1,nv,male\nH2,I2,mel,male\nH2,I3,MEL,\n,I4,bkl,Female\n",
)
NAMED = (
    b"pixel0000,pixel0001,pixel0002,pixel0003,label,image_id\n0,1,2,3,0,I3\n10,200,255,7,1,I1\n9,1,1,0,0,I2\n",
    JOINED[1],
)
#: What goes wrong in real files: signs, spaces, quotes, other digits, ends of lines, marks, huge numbers.
TOKENS = [
    *(b"-1 +1 256 257 1e2 0x1 1.0 nan inf None 00 007 0000000000001 99999999999999999999 2,3".split()),
    *(
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\0",
        b"\x1a",
        b'"',
        b'""',
        b"'",
        b",",
        b",,",
        b";",
        b"_",
    ),
    *("\u00b2 \u0663 \u2212 \uff11 \ufeff \u2028 \x85 \u00e9".encode().split()),
    b"\xff\xfe",
    b"label",
    b"pixel0000",
    b"\n#comment\n",
    b'"a\nb"',
    b"x" * 300,
    *b"nv mel Mel bkl H1 H2 I1 I2 I3 image_id unknown None -".split(),
]


@st.composite
def altered(draw, content):
    """Draw a copy of some bytes with one to four things wrong with it."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20, 1000])))
        piece = content[start:stop]
        new = draw(
            st.one_of(
                st.sampled_from(TOKENS),
                st.just(b""),
                st.just(piece + piece),
                st.just(piece[::-1]),
                st.integers(0, 300).map(lambda number: str(number).encode()),
                st.binary(max_size=3),
            )
        )
        content = content[:start] + new + content[stop:]
    return content


def naive_table(content):
    """Read a table with `csv` and `int`, which accept more than the package does."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    header, *rows = rows
    values = np.array([[int(cell) for cell in row] for row in rows])
    label = header.index("label")
    return np.delete(values, label, axis=1), values[:, label]


UNKNOWN = {"", "unknown", "unk", "nan", "none", "na", "n/a", "<na>", "null", "-", "--", "?"}


def naive_metadata(content):
    """Read rows with `csv`, cells stripped, unknown lesions empty, spellings of one diagnosis joined."""
    text = content.decode("utf-8-sig")
    first = text.partition("\n")[0]
    required = {"lesion_id", "image_id", "dx"}
    signs = [sign for sign in ",\t;" if required <= {name.strip('" \r') for name in first.split(sign)}]
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=(signs or [","])[0]))
    spelt = {name: name for name in facts.CLASS_NAMES}
    for row in rows:
        for name in required:
            row[name] = row[name].strip()
        row["dx"] = spelt.setdefault(row["dx"].casefold(), row["dx"])
        if row["lesion_id"].lower() in UNKNOWN:
            row["lesion_id"] = ""
    return rows


def same_parts(one, other):
    """Return whether two columns part rows alike, whatever the parts are called."""
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))


def check_table(content, path):
    path.write_bytes(content)
    try:
        table = load_hmnist(path, metadata=False)
    except InputError as error:
        return check_sentence(str(error), path)
    pixels, labels = naive_table(content)
    np.testing.assert_array_equal(table.pixels, pixels)
    np.testing.assert_array_equal(table.labels, labels)
    return True


def check_metadata(content, path):
    path.write_bytes(content)
    try:
        found = read_metadata(path)
    except InputError as error:
        return check_sentence(str(error), path)
    rows = naive_metadata(content)
    assert found.lesion_ids.tolist() == [row["lesion_id"] for row in rows]
    assert found.image_ids.tolist() == [row["image_id"] for row in rows]
    assert found.diagnoses.tolist() == [row["dx"] for row in rows]
    for row, age in zip(rows, found.clinical.get("age", ()), strict="age" in found.clinical):
        assert math.isnan(age) or age == float(row["age"].replace(",", "."))
    return True


def check_join(table_content, metadata_content, folder):
    """Check names and lesions of a table with metadata beside it, against what a naive join makes of both."""
    path = folder / "joined.csv"
    path.write_bytes(table_content)
    (folder / "joined_metadata.csv").write_bytes(metadata_content)
    try:
        table = load_hmnist(path)
    except InputError as error:
        return check_sentence(str(error), folder)
    header, *cells = csv.reader(io.StringIO(table_content.decode("utf-8-sig"), newline=""))
    rows = naive_metadata(metadata_content)
    if "image_id" in header:
        position = header.index("image_id")
        by_name = {row["image_id"]: row for row in rows}
        rows = [by_name[row[position].strip()] for row in cells]
    labels = [int(row[header.index("label")]) for row in cells]
    groups = {label: set() for label in labels}
    for label, row in zip(labels, rows, strict=True):
        groups[label].add(row["dx"])
    names = [groups[code].pop() if len(groups[code]) == 1 else f"class_{code}" for code in sorted(groups)]
    assert list(table.class_names) == names
    assert table.labels.tolist() == labels
    lesions = [row["lesion_id"] or (row["image_id"],) for row in rows]
    if table.lesion_ids is None:
        assert not any(row["lesion_id"] for row in rows)
    else:
        assert same_parts(lesions, table.lesion_ids.tolist())
        assert len({*zip(lesions, (row["dx"] for row in rows), strict=True)}) == len({*lesions})
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder where nothing is cached, so that every content is parsed."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "no-folder").write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINMNIST_CACHE", str(folder / "no-folder" / "cache"))
        yield folder


@pytest.fixture(autouse=True)
def cache():
    """Take the place of the folder's own cache: here nothing is cached."""


def test_the_plain_ones_are_read(folder):
    assert check_table(TABLE, folder / "table.csv")
    assert check_metadata(METADATA, folder / "metadata.csv")
    assert check_join(*JOINED, folder)
    assert check_join(*NAMED, folder)


@settings(max_examples=300, derandomize=True, **QUIETLY)
@given(altered(TABLE))
def test_altered_tables(folder, content):
    check_table(content, folder / "table.csv")


@settings(max_examples=300, derandomize=True, **QUIETLY)
@given(altered(METADATA))
# Found by the long form: arrays of names drop zero bytes from the end.
@example(METADATA.replace(b"ISIC_2", b"ISIC_2\0"))
# Found by Atheris: no lesion is known.
@example(b"lesion_id,image_id,dx,sex\n,image_id,dx,unknown\n")
def test_altered_metadata(folder, content):
    check_metadata(content, folder / "metadata.csv")


@st.composite
def altered_join(draw):
    """Draw a table and its metadata, either or both altered."""
    table, metadata = draw(st.sampled_from([JOINED, NAMED]))
    which = draw(st.sampled_from(["table", "metadata", "metadata", "both"]))
    table = draw(altered(table)) if which != "metadata" else table
    return table, draw(altered(metadata)) if which != "table" else metadata


@settings(max_examples=300, derandomize=True, **QUIETLY)
@given(altered_join())
def test_altered_joins(folder, contents):
    check_join(*contents, folder)


@pytest.mark.slow
def test_ten_thousand_altered_joins(folder):
    verdicts = []

    @settings(max_examples=10_000, **QUIETLY)
    @given(altered_join())
    def many(contents):
        verdicts.append(check_join(*contents, folder))

    many()
    print(f"\n{len(verdicts):,} altered joins, {sum(verdicts):,} accepted with the naive names and lesions")
    assert len(verdicts) >= 10_000
    assert sum(verdicts) > 100


@pytest.mark.slow
def test_ten_thousand_altered_tables(folder):
    verdicts = []

    @settings(max_examples=10_000, **QUIETLY)
    @given(altered(TABLE))
    def many(content):
        verdicts.append(check_table(content, folder / "table.csv"))

    many()
    print(f"\n{len(verdicts):,} altered tables, {sum(verdicts):,} accepted and equal to the naive reading")
    assert len(verdicts) >= 10_000
    assert sum(verdicts) > 100, "nearly nothing was accepted: this looks at one side only"


@pytest.mark.slow
def test_ten_thousand_altered_metadata(folder):
    verdicts = []

    @settings(max_examples=10_000, **QUIETLY)
    @given(altered(METADATA))
    def many(content):
        verdicts.append(check_metadata(content, folder / "metadata.csv"))

    many()
    print(f"\n{len(verdicts):,} altered metadata, {sum(verdicts):,} accepted and equal to the naive reading")
    assert sum(verdicts) > 100
