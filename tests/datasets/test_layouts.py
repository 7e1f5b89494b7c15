"""Every layout of the field: read as it comes, and three kinds of damage to each."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from drawn_sets import drawn_set, write_set
from PIL import Image

from skinmnist import InputError, PixelTable, facts, load_hmnist, load_table
from skinmnist.build import main as build
from skinmnist.datasets.layouts import LAYOUTS, load_parquet
from skinmnist.datasets.metadata import read_metadata
from skinmnist.list import main as show

N = 8
LABELS = np.arange(N) % 2


def pixel_frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 256, (N, 192)), columns=[f"pixel{i:04d}" for i in range(192)])
    return frame.assign(label=LABELS)


def as_csv(folder, frame, name="table.csv", separator=","):
    path = folder / name
    frame.to_csv(path, index=False, sep=separator)
    return path


def truth_frame():
    ids = [f"ISIC_{number:07d}" for number in range(N)]
    return pd.DataFrame({"image": ids, "MEL": 1.0 * (LABELS == 0), "NV": 1.0 * (LABELS == 1), "BCC": 0.0})


def dataverse_frame():
    ids = [f"ISIC_{number:07d}" for number in range(N)]
    lesions = [f"HAM_{number // 2:07d}" for number in range(N)]
    frame = pd.DataFrame({"lesion_id": lesions, "image_id": ids, "dx": "nv", "dx_type": "histo", "age": 50.0})
    return frame.assign(sex="male", localization="back", dataset=["rosendahl", "vidir_modern"] * (N // 2))


def test_every_layout_is_listed_and_tested(capsys):
    assert show(["layouts"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == [*LAYOUTS]
    assert {name for name, _ in DAMAGES} | {"parquet"} == {*LAYOUTS}
    assert all(sum(name == layout for name, _ in DAMAGES) >= 3 for layout in LAYOUTS if layout != "parquet")


def test_tables_are_read_alike(tmp_path):
    frame = pixel_frame()
    from_csv = load_table(as_csv(tmp_path, frame))
    from_frame = PixelTable.from_arrays(frame, y="label")
    np.testing.assert_array_equal(from_csv.pixels, from_frame.pixels)
    np.testing.assert_array_equal(from_csv.labels, from_frame.labels)
    assert load_hmnist(tmp_path / "table.csv").shape == from_csv.shape == from_frame.shape == (8, 8, 3)


def test_ground_truth_and_dataverse(tmp_path):
    truth = read_metadata(as_csv(tmp_path, truth_frame(), "truth.csv"))
    assert truth.diagnoses.tolist() == ["mel", "nv"] * (N // 2)
    assert (truth.lesion_ids == "").all()
    described = read_metadata(as_csv(tmp_path, dataverse_frame(), "HAM10000_metadata.tab", "\t"))
    assert described.lesion_ids.tolist() == dataverse_frame()["lesion_id"].tolist()
    assert described.sources["dataset"].tolist() == dataverse_frame()["dataset"].tolist()


def changed_csv(make, change, separator=","):
    def read(folder, reader):
        path = as_csv(folder, make(), "x.csv", separator)
        path.write_text(change(path.read_text()))
        reader(path)

    return read


def changed_set(**changes):
    def read(folder, reader):
        arrays = drawn_set(3) | changes
        reader(
            write_set(folder / "x.npz", {name: value for name, value in arrays.items() if value is not None})
        )

    return read


def changed_frame(change, **given):
    return lambda folder, reader: reader(change(pixel_frame()), **{"y": "label", **given})


DAMAGES = {
    ("pixel-csv", "a column dropped"): (
        changed_csv(lambda: pixel_frame().drop(columns="pixel0100"), str),
        "pixel0101",
    ),
    ("pixel-csv", "a level of 256"): (changed_csv(pixel_frame, lambda s: s[:-30] + "256,0\n"), "x.csv, row"),
    ("pixel-csv", "no label"): (changed_csv(lambda: pixel_frame().drop(columns="label"), str), "'label'"),
    ("medmnist", "floats"): (changed_set(val_images=np.zeros((14, 28, 28, 3))), "val_images"),
    ("medmnist", "an array missing"): (changed_set(test_labels=None), "no array test_labels"),
    ("medmnist", "lengths differ"): (changed_set(test_labels=np.zeros((3, 1), np.uint8)), "test_labels"),
    ("isic-truth", "two classes"): (
        changed_csv(truth_frame, lambda s: s.replace("1.0,0.0,0.0", "1.0,1.0,0.0", 1)),
        "a single 1",
    ),
    ("isic-truth", "a half"): (
        changed_csv(truth_frame, lambda s: s.replace("1.0,0.0,0.0", "0.5,0.5,0.0", 1)),
        "a single 1",
    ),
    ("isic-truth", "a row cut"): (changed_csv(truth_frame, lambda s: s[:-9] + "\n"), "x.csv, row 7"),
    ("dataverse", "no lesions"): (
        changed_csv(lambda: dataverse_frame().drop(columns="lesion_id"), str, "\t"),
        "lesion_id",
    ),
    ("dataverse", "an age of 500"): (
        changed_csv(dataverse_frame, lambda s: s.replace("50.0", "500", 1), "\t"),
        "column 'age'",
    ),
    ("dataverse", "a cell too many"): (
        changed_csv(dataverse_frame, lambda s: s.replace("rosendahl", "rosendahl\tx", 1), "\t"),
        "row 0",
    ),
    ("data-frame", "text"): (changed_frame(lambda f: f.assign(name="a")), "'name' of X is not numeric"),
    ("data-frame", "no such column"): (changed_frame(lambda f: f, y="dx"), "is not in the data frame"),
    ("data-frame", "no square"): (changed_frame(lambda f: f.iloc[:, 5:]), "give their shape"),
}


@pytest.mark.parametrize("case", DAMAGES, ids="-".join)
def test_damage_is_one_sentence(case, tmp_path):
    damage, message = DAMAGES[case]
    with pytest.raises(InputError, match=message) as caught:
        damage(tmp_path, LAYOUTS[case[0]].read)
    assert "\n" not in str(caught.value)


def test_build_makes_a_csv_that_is_the_same_table(tmp_path, capsys):
    source = write_set(tmp_path / "dermamnist.npz", drawn_set(7, 8))
    target = tmp_path / "t.csv"
    for _ in range(2):  # What was built is built again.
        assert build([str(source), "--out", str(target)]) == 0
    assert f"--split {tmp_path / 't_split.csv'}" in capsys.readouterr().out
    table, built = load_table(source), load_table(target)
    np.testing.assert_array_equal(built.pixels, table.pixels)
    np.testing.assert_array_equal(built.labels, table.labels)
    assert (built.class_names, built.shape) == (table.class_names, table.shape)
    split = pd.read_csv(tmp_path / "t_split.csv")
    assert split["split"].tolist() == table.parts.tolist()
    assert built.image_ids.tolist() == split["image_id"].tolist() == table.image_ids.tolist()
    (tmp_path / "t_split.csv").write_text("mine")
    assert build([str(source), "--out", str(target)]) == 2
    assert build([str(source), "--out", str(target), "--mode", "L"]) == 2
    assert "--mode; expected" in capsys.readouterr().err


def test_build_keeps_what_metadata_say_of_patients_and_sources(tmp_path):
    source = as_csv(tmp_path, pixel_frame())
    described = dataverse_frame().assign(
        lesion_id=[*"ababab", "", ""],
        dx=["nv", "mel"] * (N // 2),
        age=[None, 0.0, 85.5, *range(N - 3)],
        sex=["male", "", *["female"] * (N - 2)],
        camera=["=SUM(A1)", "-1", "", "@x", "a,b", 'c"d', "é", "x"],
    )
    as_csv(tmp_path, described, "table_metadata.csv")
    target = tmp_path / "t.csv"
    assert build([str(source), "--out", str(target)]) == 0
    table, built = load_table(source), load_table(target)
    for name in ("clinical", "sources"):
        own, found = getattr(table, name), getattr(built, name)
        assert list(found) == list(own)
        for column in own:
            np.testing.assert_array_equal(found[column], own[column])
    assert {*table.clinical} == {*facts.CLINICAL_COLUMNS}
    assert {*table.sources} == {"dataset", "camera"}
    assert built.lesion_ids.tolist() == table.lesion_ids.tolist()


def test_metadata_go_with_a_csv_or_are_left_out(tmp_path):
    path = as_csv(tmp_path, pixel_frame())
    labels = load_table(path).labels
    dx = [facts.CLASS_NAMES[label] for label in labels]
    for name in ("table_metadata", "other"):
        ids = [f"{name}{row}" for row in range(len(labels))]
        as_csv(tmp_path, pd.DataFrame({"lesion_id": ids, "image_id": ids, "dx": dx}), f"{name}.csv")
    assert load_table(path).image_ids[0] == "table_metadata0"
    assert load_table(path, tmp_path / "other.csv").image_ids[0] == "other0"
    assert load_table(path, False).image_ids is None


def test_metadata_do_not_go_with_a_file_that_describes_itself(tmp_path):
    with pytest.raises(InputError, match="a file that contains its own"):
        load_table(write_set(tmp_path / "x.npz", drawn_set(2)), tmp_path / "meta.csv")


def picture(level, size=(8, 8)):
    stream = io.BytesIO()
    Image.new("RGB", size, (level, 10, 200)).save(stream, "PNG")
    return stream.getvalue()


def parquet_columns():
    return {"image": [{"bytes": picture(20 * i), "path": None} for i in range(N)], "label": LABELS.tolist()}


def naming(names):
    """Return what a Hugging Face data set says about the names of its classes."""
    return {"info": {"features": {"label": {"names": names}}}}


class ReplacedParquet:
    """What `load_parquet` asks of pyarrow, answered from JSON; it may be missing where tests run."""

    def __init__(self, path):
        self.columns, names = json.loads(Path(path).read_text())
        for value in self.columns.get("image", []):
            if value["bytes"] is not None:
                value["bytes"] = bytes.fromhex(value["bytes"])
        self.metadata, self.num_row_groups = self, 1
        self.num_rows = len(self.columns["image"])
        described = {b"huggingface": json.dumps(naming(names)).encode()}
        self.schema_arrow = SimpleNamespace(names=[*self.columns], metadata=described)

    def row_group(self, _):
        return self

    total_byte_size = 1000

    def iter_batches(self, size, columns):
        for start in range(0, self.num_rows, 3):
            part = {name: self.columns[name][start : start + 3] for name in columns}
            yield type("Batch", (), {"to_pydict": lambda self, part=part: part})()


@pytest.fixture(params=["replaced", "pyarrow"])
def write_parquet(request, tmp_path, monkeypatch):
    """Return what writes columns into a Parquet file, or into what stands for one."""
    path = tmp_path / "x.parquet"
    if request.param == "pyarrow":
        arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: skinmnist[parquet]")
        from pyarrow import parquet

        def write(columns, names=("a", "b")):
            described = {"huggingface": json.dumps(naming(names))}
            table = arrow.table(columns).replace_schema_metadata(described)
            parquet.write_table(table, path)
            return path

        return write
    module = type(sys)("pyarrow.parquet")
    module.ParquetFile = ReplacedParquet
    monkeypatch.setitem(sys.modules, "pyarrow", type(sys)("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", module)

    def write_json(columns, names=("a", "b")):
        path.write_text(json.dumps([columns, names], default=bytes.hex))
        return path

    return write_json


def test_parquet(write_parquet):
    table = load_table(write_parquet(parquet_columns()))
    assert (len(table), table.shape, table.class_names) == (N, (8, 8, 3), ("a", "b"))
    assert table.labels.tolist() == LABELS.tolist()
    assert table.pixels[3].reshape(64, 3).tolist() == [[60, 10, 200]] * 64
    path = write_parquet(parquet_columns() | {"label": ["NV", "mel"] * (N // 2), "lesion_id": ["x", "y"] * 4})
    table = load_table(path, size=(4, 6), classes=("mel", "nv"))
    assert (table.shape, table.class_names, table.labels[0], table.n_lesions) == (
        (4, 6, 3),
        ("mel", "nv"),
        1,
        2,
    )


@pytest.mark.parametrize(
    ("ids", "lesions"),
    [
        (["a", "b", "a ", " b", " a", "b", "a", "b"], ["a", "b"] * 4),
        ([0, 1] * 4, ["0", "1"] * 4),
        (["a", "b"] * 3 + [None, ""], [*["a", "b"] * 3, "lesion of 6", "lesion of 7"]),
        ([0.5, 1.5] * 3 + [float("nan")] * 2, [*["0.5", "1.5"] * 3, "lesion of 6", "lesion of 7"]),
        ([None] * N, None),
    ],
    ids=["blanks", "whole numbers", "missing", "not a number", "all missing"],
)
def test_lesions_of_parquet_follow_the_rules_for_metadata(ids, lesions, write_parquet):
    table = load_table(write_parquet(parquet_columns() | {"lesion_id": ids, "image_id": [*range(N)]}))
    assert (table.lesion_ids if table.lesion_ids is None else table.lesion_ids.tolist()) == lesions
    assert table.image_ids.tolist() == [*"01234567"]
    assert ("2 of 8 pictures have no" in " ".join(table.notes)) == ("lesion of 6" in (lesions or ()))


SPELLINGS = ["benign", "malignant", "Benign ", "Malignant"]


@pytest.mark.parametrize(
    "words", [SPELLINGS, SPELLINGS[2:] + SPELLINGS[:2]], ids=["small first", "small last"]
)
@pytest.mark.parametrize("stated", [None, ("benign", "MALIGNANT")], ids=["", "stated"])
def test_spellings_of_a_class_are_one_class_whatever_their_order(words, stated, write_parquet, tmp_path):
    frame = pixel_frame().assign(label=words * (N // 4))
    for table in (
        load_table(as_csv(tmp_path, frame), classes=stated),
        PixelTable.from_arrays(frame, y="label", class_names=stated),
        load_table(
            write_parquet(parquet_columns() | {"label": words * (N // 4)}, names=None), classes=stated
        ),
    ):
        assert table.class_names == (stated or ("Benign", "Malignant"))
        np.testing.assert_array_equal(table.labels, LABELS)
        assert "labels that differ only in case were merged" in " ".join(table.notes)


@pytest.mark.parametrize("words", ["aA", "AA"])
def test_labels_of_a_single_class_are_no_table(words, write_parquet, tmp_path):
    frame = pixel_frame().assign(label=[*words] * (N // 2))
    columns = parquet_columns() | {"label": frame["label"].tolist()}
    for read in (
        lambda: load_table(as_csv(tmp_path, frame)),
        lambda: PixelTable.from_arrays(frame, y="label"),
        lambda: load_table(write_parquet(columns, names=None)),
    ):
        with pytest.raises(InputError, match="all labels are 'A'; expected at least two classes"):
            read()


def test_stored_names_that_differ_only_in_case_are_refused_as_they_are(write_parquet):
    path = write_parquet(parquet_columns(), names=["a", "A"])
    with pytest.raises(InputError, match=r'\["a", "A"\].*differ only in case or blanks are one class$'):
        load_table(path)
    assert load_table(path, classes=("a", "b")).class_names == ("a", "b")


@pytest.fixture
def every_layout(write_parquet, tmp_path):
    """A table of 8x8 pictures in each of the layouts."""
    return [
        as_csv(tmp_path, pixel_frame()),
        write_set(tmp_path / "x.npz", drawn_set(2, 8)),
        write_parquet(parquet_columns()),
    ]


@pytest.mark.parametrize(
    "size", ["8x8", 8, (8,), (8.0, 8.0), (8, 8, 3, 1), (0, 8, 3), (8, 8, 2), ()], ids=str
)
def test_what_is_no_size(size, every_layout):
    for path in every_layout:
        with pytest.raises(InputError, match=r"received (the|--) ?size .*; expected (whole|height)"):
            load_table(path, size=size)


@pytest.mark.parametrize("size", [(8, 8), (8, 8, 0), (8, 8, 3), np.array([8, 8])], ids=str)
def test_a_size_in_many_forms(size, every_layout):
    for path in every_layout:
        assert load_table(path, size=size).shape == (8, 8, 3)


def test_metadata_that_are_no_path(tmp_path):
    with pytest.raises(
        InputError, match="received an object of bool; expected the path of a CSV file, None or"
    ):
        load_table(as_csv(tmp_path, pixel_frame()), metadata=True)


@pytest.mark.parametrize(
    "classes",
    ["ab", ["a", "A"], np.arange(2), [None, "a"], 5, True],
    ids=["text", "equal", "numbers", "none", "number", "truth"],
)
def test_what_cannot_name_classes(classes, every_layout):
    for path in every_layout:
        with pytest.raises(InputError, match="at least two different names"):
            load_table(path, classes=classes)


PARQUET_DAMAGES = {
    "no label": (lambda c: {"image": c["image"]}, "0 columns 'label'"),
    "no bytes": (
        lambda c: c | {"image": [{"bytes": None, "path": "a.jpg"}] * N},
        "bytes of a picture file",
    ),
    "no picture": (lambda c: c | {"image": [{"bytes": b"GIF", "path": None}] * N}, "column 'image': "),
    "several sizes": (
        lambda c: c | {"image": [*c["image"][:-1], {"bytes": picture(1, (9, 8)), "path": None}]},
        "--size 28x28",
    ),
    "a gap in the codes": (lambda c: c | {"label": [0, 2] * (N // 2)}, "the codes 0 to k-1"),
    "a lesion of two classes": (
        lambda c: c | {"lesion_id": ["x"] * N},
        "the lesion 'x' has the dx 'a' in row 0",
    ),
    "an id missing": (lambda c: c | {"image_id": ["a"] * (N - 1) + [None]}, "column 'image_id'"),
}


@pytest.mark.parametrize("damage", PARQUET_DAMAGES)
def test_damaged_parquet(damage, write_parquet):
    change, message = PARQUET_DAMAGES[damage]
    with pytest.raises(InputError, match=message):
        load_parquet(write_parquet(change(parquet_columns())))


def test_parquet_that_is_torn_or_without_its_reader(write_parquet, tmp_path, monkeypatch):
    path = write_parquet(parquet_columns())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="not a complete Parquet file"):
        load_parquet(path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pip install 'skinmnist\[parquet\]'"):
        load_parquet(path)
    with pytest.raises(InputError, match="nowhere"):
        load_parquet(tmp_path / "nowhere" / "x.parquet")
