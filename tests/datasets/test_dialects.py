"""Tables in other dialects: read as a naive reader reads them, or refused by their cause."""

import csv
import gzip
import io
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from alterations import QUIETLY, check_sentence
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fuzz import altered

from skinmnist import facts
from skinmnist.datasets import dialects
from skinmnist.datasets.hmnist import find_table, load_hmnist
from skinmnist.errors import InputError


@pytest.fixture
def frame(lesions):
    """A table of seven classes as pandas holds it, from the synthetic pictures."""
    found = pd.DataFrame(lesions.pixels).add_prefix("pixel")
    return found.assign(label=lesions.labels)


def pixels_of(frame):
    return [name for name in frame if str(name).startswith("pixel")]


def with_floats(frame, divisor, kind="float64", digits=None):
    names = pixels_of(frame)
    return pd.concat([(frame[names] / divisor).astype(kind).round(digits or 17), frame["label"]], axis=1)


def one_hot(frame):
    truth = {name.upper(): (frame["label"] == code) * 1.0 for code, name in enumerate(facts.CLASS_NAMES)}
    ordered = dict(sorted(truth.items()))
    return pd.concat([frame[pixels_of(frame)], pd.DataFrame(ordered)], axis=1)


def named(frame, spell):
    return frame.assign(label=[spell(facts.CLASS_NAMES[code]) for code in frame["label"]])


def text(frame, **options):
    return frame.to_csv(**{"index": False, **options}).encode()


def zipped(content, *names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return stream.getvalue()


READ = {
    "tabs": (lambda f: text(f, sep="\t"), "tabs"),
    "semicolons": (lambda f: text(f, sep=";"), "semicolons"),
    "semicolons, windows": (lambda f: text(f, sep=";").replace(b"\n", b"\r\n"), "semicolons"),
    "index": (lambda f: text(f, index=True), "counts the rows"),
    "named index": (lambda f: text(f.reset_index()), "counts the rows"),
    "index from 1": (lambda f: text(f.set_index(f.index + 1), index=True), "counts the rows"),
    "numbered columns": (lambda f: text(f.rename(columns=lambda n: n.replace("pixel", ""))), "numbered"),
    "0 to 1": (lambda f: text(with_floats(f, 255)), "multiplied by 255"),
    "0 to 1, float32": (lambda f: text(with_floats(f, 255, "float32")), "multiplied by 255"),
    "0 to 1, four decimals": (lambda f: text(with_floats(f, 255, digits=4)), "multiplied by 255"),
    "whole floats": (lambda f: text(f.astype(float)), "whole numbers written as floats"),
    "names": (lambda f: text(named(f, str)), "class names come from the labels"),
    "capital names": (lambda f: text(named(f, str.upper)), "class names come from the labels"),
    "quoted names": (lambda f: text(named(f, '"{}"'.format), quoting=csv.QUOTE_NONE), "the labels"),
    "one-hot": (lambda f: text(one_hot(f)), "one-hot columns, one for each class"),
    "gzip": (lambda f: gzip.compress(text(f)), ""),
    "zip": (lambda f: zipped(text(f), "a/table.csv", "a/", "__MACOSX/a/._table.csv"), ""),
    "all": (lambda f: gzip.compress(text(named(with_floats(f, 255), str), index=True, sep="\t")), "tabs"),
}


@pytest.mark.parametrize(("write", "note"), READ.values(), ids=READ)
def test_what_leaves_no_doubt_is_read_with_a_note(write, note, frame, lesions, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(write(frame))
    for table in (load_hmnist(path), load_hmnist(path)):  # Parsed, and from the cache.
        np.testing.assert_array_equal(table.pixels, lesions.pixels)
        np.testing.assert_array_equal(table.labels, lesions.labels)
        assert note in " ".join(table.notes)
    if "name" in note or "class" in note:
        assert table.class_names == facts.CLASS_NAMES


def test_names_follow_the_order_that_is_stated(frame, lesions, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(text(named(frame, str)))
    order = sorted(facts.CLASS_NAMES)
    table = load_hmnist(path, classes=order)
    assert [table.class_names[code] for code in table.labels] == [
        facts.CLASS_NAMES[code] for code in lesions.labels
    ]
    with pytest.raises(InputError, match="expected the same names"):
        load_hmnist(path, classes=["benign", "malignant"])


REFUSED = {
    "no header": (lambda f: text(f, header=False), "the first line holds numbers, not column names"),
    "no header, names": (lambda f: text(named(f, str), header=False), "the first line holds numbers"),
    "dx": (lambda f: text(f.rename(columns={"label": "dx"})), "rename it"),
    "shuffled index": (lambda f: text(f.set_index(f.index[::-1]), index=True), "does not count the rows"),
    "0 to 1 of 200": (lambda f: text(with_floats(f, 300)), "not multiples of 1/255"),
    "three decimals": (lambda f: text(with_floats(f, 255, digits=3)), "not multiples of 1/255"),
    "half levels": (lambda f: text(with_floats(f, 2)), "are not all whole"),
    "line ends of old Macs": (lambda f: text(f).replace(b"\n", b"\r"), "a carriage return alone"),
    "decimal commas": (lambda f: text(with_floats(f, 2), sep=";", decimal=","), "commas in its cells"),
}


@pytest.mark.parametrize(("write", "cause"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_names_its_cause_and_a_line_that_works(write, cause, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "table.csv"
    path.write_bytes(write(frame))
    with pytest.raises(InputError) as refusal:
        load_hmnist(path)
    assert cause in str(refusal.value)
    line = str(refusal.value)[str(refusal.value).index("import pandas") :]
    exec(line, {})
    if cause == "commas in its cells":  # There is a second thing to mend, which the next sentence names.
        with pytest.raises(InputError, match="are not all whole"):
            load_hmnist(tmp_path / "table_mended.csv")
    else:
        assert len(load_hmnist(tmp_path / "table_mended.csv")) == len(frame)


@pytest.mark.parametrize(
    ("write", "cause"),
    [
        (lambda f: text(with_floats(f.astype(int) - 128, 64)), "which look standardised"),
        (lambda f: text(named(f, str)).replace(b",nv\n", b",nan\n"), "expected a name in every row"),
        (lambda f: text(one_hot(f)).replace(b"1.0", b"0.0", 1), "expected a single 1"),
        (lambda f: zipped(text(f), "a.csv", "b.csv"), "an archive of 2 files"),
        (lambda f: zipped(text(f), "xl/book.xml"), "expected a single CSV in it"),
        (lambda f: zipped(text(f), "train_images.npy", "train_labels.npy"), "numpy arrays"),
        (lambda f: gzip.compress(text(f))[:-100], "cannot be unpacked"),
        (lambda f: zipped(text(f), "a.csv")[:-30], "damaged archive"),
    ],
)
def test_what_cannot_be_mended_is_told_so(write, cause, frame, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(write(frame))
    with pytest.raises(InputError, match=re.escape(cause)):
        load_hmnist(path)


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped(content, "table.csv")])
def test_a_bomb_is_not_unpacked(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(dialects, "MOST_UNPACKED", 100_000)
    path = tmp_path / "table.csv"
    path.write_bytes(pack(b"0" * 100_001))
    with pytest.raises(InputError, match="unpacks to more than 100,000 bytes"):
        load_hmnist(path)


def test_numpys_line_reads_medmnist(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = frame[pixels_of(frame)].to_numpy().astype(np.uint8).reshape(len(frame), 8, 8, 3)
    np.savez("derma.npz", train_images=pictures, train_labels=frame["label"].to_numpy()[:, None])
    with pytest.raises(InputError) as refusal:
        load_hmnist("derma.npz")
    exec(str(refusal.value)[str(refusal.value).index("import numpy") :], {})
    np.testing.assert_array_equal(load_hmnist("derma.csv").pixels, frame[pixels_of(frame)])


@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
@pytest.mark.parametrize("nested", [False, True])
def test_tables_are_found_packed_and_in_folders_of_their_name(ending, nested, frame, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path))
    name = f"hmnist_8_8_RGB.csv{ending}"
    content = text(frame)
    packed = {"": content, ".gz": gzip.compress(content), ".zip": zipped(content, "hmnist_8_8_RGB.csv")}[
        ending
    ]
    place = tmp_path / name / name if nested else tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(packed)
    metadata = frame.reset_index()
    metadata = pd.DataFrame(
        {
            "lesion_id": "L" + (metadata["index"] // 2).astype(str) + "_" + metadata["label"].astype(str),
            "image_id": "I" + metadata["index"].astype(str),
            "dx": [facts.CLASS_NAMES[code] for code in metadata["label"]],
        }
    )
    metadata.to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    assert find_table() == place
    table = load_hmnist(tmp_path / name)
    assert table.name == "hmnist_8_8_RGB"
    assert table.class_names == facts.CLASS_NAMES
    assert table.lesion_ids is not None


def test_a_grey_table_is_found_after_those_in_colour(frame, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINMNIST_DATA", str(tmp_path))
    (tmp_path / "hmnist_8_8_L.csv").write_bytes(text(frame))
    assert find_table().name == "hmnist_8_8_L.csv"
    (tmp_path / "hmnist_8_8_RGB.csv.gz").write_bytes(gzip.compress(text(frame)))
    assert find_table().name == "hmnist_8_8_RGB.csv.gz"


PIXELS = np.array([[0, 1, 2, 3], [10, 200, 255, 7], [99, 100, 101, 0], [5, 5, 5, 5]])
SMALL = pd.DataFrame(PIXELS).add_prefix("pixel").assign(label=[0, 1, 2, 1])
DRAWN = [
    text(SMALL, sep=";"),
    text(SMALL, sep="\t"),
    text(SMALL, index=True),
    text(with_floats(SMALL, 255)),
    text(SMALL.astype(float)),
    text(SMALL.assign(label=["nv", "MEL", "bkl", "mel"])),
    text(SMALL.assign(label=["b", "a", "c", "a"]), index=True, sep="\t"),
    text(SMALL.rename(columns=lambda name: name.replace("pixel", ""))),
]


def naive(content):
    """Read a dialect with `csv` and `float`, which accept more than the package does."""
    lines = content.decode("utf-8-sig").replace("\r\n", "\n")
    header = lines.partition("\n")[0]
    sign = "," if "," in header else "\t" if "\t" in header else ";"
    header, *rows = csv.reader(io.StringIO(lines, newline=""), delimiter=sign)
    if header[0] in ("", "index", "Unnamed: 0"):
        header, rows = header[1:], [row[1:] for row in rows]
    at = header.index("label")
    cells = [[cell for column, cell in enumerate(row) if column != at] for row in rows]
    pixels = [[float(cell) for cell in row] for row in cells]
    if "." in cells[0][0] and max(map(max, pixels)) <= 1:
        pixels = [[round(255 * value) for value in row] for row in pixels]
    labels = [row[at].strip().strip('"') for row in rows]
    if not labels[0][0].isdigit():
        spelt = {name: name for name in facts.CLASS_NAMES}
        for name in sorted(labels):
            spelt.setdefault(name.casefold(), name)
        labels = [spelt[name.casefold()] for name in labels]
        known = {*labels} <= {*facts.CLASS_NAMES}
        order = [name for name in facts.CLASS_NAMES if name in labels] if known else sorted({*labels})
        return pixels, [order.index(name) for name in labels]
    return pixels, [float(label) for label in labels]


def check(content, path):
    path.write_bytes(content)
    try:
        table = load_hmnist(path, metadata=False)
    except InputError as error:
        return check_sentence(str(error), path)
    pixels, labels = naive(content)
    assert table.pixels.tolist() == pixels
    assert table.labels.tolist() == labels
    return True


def test_the_dialects_that_are_altered_are_read(tmp_path):
    assert all(check(content, tmp_path / "table.csv") for content in DRAWN)


@settings(max_examples=400, derandomize=True, **QUIETLY)
@given(st.sampled_from(DRAWN).flatmap(altered))
def test_altered_dialects(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp() / "altered.csv")


@pytest.mark.slow
def test_ten_thousand_altered_dialects(tmp_path):
    verdicts = []

    @settings(max_examples=10_000, **QUIETLY)
    @given(st.sampled_from(DRAWN).flatmap(altered))
    def many(content):
        verdicts.append(bool(check(content, tmp_path / "table.csv")))

    many()
    print(f"\n{len(verdicts):,} altered dialects, {sum(verdicts):,} accepted and equal to the naive reading")
    assert sum(verdicts) > 100
