"""Altered tables and metadata: refused in one sentence, or read as a naive reader reads them."""

import csv
import io
import math

import numpy as np
import pytest
from alterations import QUIETLY, check_sentence
from hypothesis import example, given, settings
from hypothesis import strategies as st

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


def naive_metadata(content):
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


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
    lesions = [row["lesion_id"] for row in rows]
    # As `skinmnist.build` writes it where nobody knows the lesions.
    assert lesions == (len(rows) * [""] if found.lesion_ids is None else found.lesion_ids.tolist())
    assert found.image_ids.tolist() == [row["image_id"] for row in rows]
    assert found.diagnoses.tolist() == [row["dx"] for row in rows]
    for row, age in zip(rows, found.clinical.get("age", ()), strict="age" in found.clinical):
        assert math.isnan(age) or age == float(row["age"])
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
