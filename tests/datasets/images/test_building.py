import csv
import os

import numpy as np
import pytest
from PIL import Image

from skinmnist.datasets.classes_file import about_file
from skinmnist.datasets.hmnist import load_hmnist
from skinmnist.datasets.images import building
from skinmnist.datasets.images.building import ProgressFile, Target, build_tables, kaggle_targets
from skinmnist.datasets.images.folders import list_pictures
from skinmnist.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Thirty random PNGs of 20 x 30 in three folders of classes."""
    rng = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "pictures" / "abc"[number % 3] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(path)
    return tmp_path / "pictures"


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 7, 3), (7, 5, 1), (1, 1, 1)])
def test_rows_are_what_pillow_makes_of_each_picture(shape, folder, tmp_path):
    target = Target(tmp_path / "t.csv", shape)
    pictures = list_pictures([folder])
    build_tables(pictures, [target])
    table = load_hmnist(target.path)
    assert table.shape == shape
    assert table.class_names == ("a", "b", "c")
    assert table.lesion_ids is None
    assert table.image_ids[0] == "a/00"
    for path, row, label in zip(pictures.paths, table.pixels, table.labels, strict=True):
        image = Image.open(path).convert("RGB" if shape[2] == 3 else "L")
        expected = image.resize((shape[1], shape[0]), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(row, np.asarray(expected).ravel())
        assert table.class_names[label] == path.parent.name


def test_all_jobs_write_the_same(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_CHUNK", 4)
    written = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        out.mkdir()
        build_tables(list_pictures([folder]), kaggle_targets(out), jobs=jobs)
        written.append(files_of(out))
    assert written[0] == written[1]
    names = [f"hmnist_{side}_{side}_{mode}" for side in (8, 28) for mode in ("L", "RGB")]
    assert set(written[0]) == {n + end for n in names for end in (".csv", "_metadata.csv", "_classes.json")}
    header = written[0]["hmnist_28_28_RGB.csv"].partition(b"\n")[0].decode().split(",")
    assert (header[0], header[-2], header[-1], len(header)) == ("pixel0000", "pixel2351", "label", 2353)


class Impatient:
    """Presses Ctrl-C after some pictures."""

    def __init__(self, after):
        self.after, self.stored = after, None

    def started(self, total, stored):
        self.stored = stored

    def advanced(self, done):
        if done >= self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_build_goes_on(jobs, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_CHUNK", 4)
    pictures = list_pictures([folder])
    target = Target(tmp_path / "t.csv", (8, 8, 3))
    with pytest.raises(KeyboardInterrupt):
        build_tables(pictures, [target], jobs=jobs, progress=Impatient(9))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["t.csv.part"]
    opened = []
    monkeypatch.setattr(
        building, "open_picture", lambda path, f=building.open_picture: opened.append(path) or f(path)
    )
    progress = Impatient(1000)
    build_tables(pictures, [target], progress=progress)
    assert progress.stored == 12
    assert tuple(opened) == pictures.paths[12:]
    resumed = files_of(tmp_path)
    assert set(resumed) == {"t.csv", "t_metadata.csv", "t_classes.json"}
    build_tables(pictures, [target])
    assert files_of(tmp_path) == resumed


@pytest.mark.parametrize(("side", "touched"), [(8, False), (9, False), (8, True)])
def test_only_the_same_build_of_the_same_pictures_goes_on(side, touched, folder, tmp_path):
    path = tmp_path / "t.csv"
    pictures = list_pictures([folder])
    with pytest.raises(KeyboardInterrupt):
        build_tables(pictures, [Target(path, (8, 8, 3))], progress=Impatient(1))
    if touched:
        os.utime(folder / "b" / "01.png", (1, 1))
    progress = Impatient(1000)
    build_tables(pictures, [Target(path, (side, side, 3))], progress=progress)
    assert progress.stored == (30 if side == 8 and not touched else 0)
    assert load_hmnist(path).shape == (side, side, 3)


def test_bad_pictures_are_named_or_left_out(folder, tmp_path):
    broken, text = folder / "a" / "03.png", folder / "b" / "04.png"
    broken.write_bytes(broken.read_bytes()[:900])
    text.write_text("no picture")
    pictures = list_pictures([folder])
    target = Target(tmp_path / "t.csv", (8, 8, 3))
    with pytest.raises(InputError, match="2 of the pictures cannot be read") as error:
        build_tables(pictures, [target])
    assert f"{broken}, {text} (the first: received a damaged or truncated picture" in str(error.value)
    assert "--skip-bad" in str(error.value)
    assert set(files_of(tmp_path)) == {"t.csv.part"}
    progress = Impatient(1000)
    built = build_tables(pictures, [target], skip_bad=True, progress=progress)
    assert progress.stored == 30
    assert [path for path, _ in built.bad] == [broken, text]
    assert built.rows_per_class == {"a": 9, "b": 9, "c": 10}
    table = load_hmnist(target.path)
    whole = [path for path in pictures.paths if path not in (broken, text)]
    assert table.image_ids.tolist() == [path.relative_to(folder).with_suffix("").as_posix() for path in whole]
    row = np.asarray(Image.open(whole[-1]).resize((8, 8), Image.Resampling.LANCZOS)).ravel()
    np.testing.assert_array_equal(table.pixels[-1], row)


def test_a_class_that_loses_all_its_pictures_is_an_error(folder, tmp_path):
    for path in (folder / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no picture of the class 'b' can be read"):
        build_tables(list_pictures([folder]), [Target(tmp_path / "t.csv", (8, 8, 3))], skip_bad=True)
    assert not (tmp_path / "t.csv").exists()


def test_a_table_of_somebody_else_is_not_replaced(folder, tmp_path):
    path = tmp_path / "hmnist_8_8_RGB.csv"
    path.write_text("theirs")
    with pytest.raises(InputError, match="was not made by"):
        build_tables(list_pictures([folder]), kaggle_targets(tmp_path))
    assert files_of(tmp_path) == {path.name: b"theirs"}


def test_a_table_that_was_edited_is_not_replaced(folder, tmp_path):
    def build():
        return build_tables(list_pictures([folder]), [Target(tmp_path / "t.csv", (8, 8, 3))])

    build()
    build()  # Untouched, it is written anew.
    with (tmp_path / "t.csv").open("ab") as stream:
        stream.write(b"1,2,3\n")
    edited = (tmp_path / "t.csv").read_bytes()
    with pytest.raises(InputError, match=r"t\.csv has changed since skinmnist\.build wrote it"):
        build()
    assert (tmp_path / "t.csv").read_bytes() == edited


def test_metadata_that_was_filled_in_is_not_replaced(folder, tmp_path):
    target = Target(tmp_path / "t.csv", (8, 8, 3))
    build_tables(list_pictures([folder]), [target])
    beside = tmp_path / "t_metadata.csv"
    beside.write_text(beside.read_text().replace("a/00,", "a/00x,"))
    before = files_of(tmp_path)
    with pytest.raises(InputError, match=r"t_metadata\.csv has content that skinmnist\.build did not write"):
        build_tables(list_pictures([folder]), [target])
    assert {name: content for name, content in files_of(tmp_path).items() if name in before} == before
    beside.unlink()
    build_tables(list_pictures([folder]), [target])
    assert beside.is_file()


def test_the_metadata_of_the_pictures_is_not_replaced_by_that_of_the_table(folder, tmp_path):
    (tmp_path / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx\n")
    with pytest.raises(InputError, match=r"HAM10000_metadata\.csv has content"):
        build_tables(list_pictures([folder]), [Target(tmp_path / "HAM10000.csv", (8, 8, 3))])
    assert not (tmp_path / "HAM10000.csv").exists()


def test_a_folder_that_has_grown_is_built_again(folder, tmp_path):
    target = Target(tmp_path / "t.csv", (8, 8, 3))
    build_tables(list_pictures([folder]), [target])
    Image.new("RGB", (20, 30)).save(folder / "a" / "zz.png")
    build_tables(list_pictures([folder]), [target])
    assert len(load_hmnist(target.path)) == 31


def test_a_write_that_fails_leaves_what_was_there(folder, tmp_path, monkeypatch):
    pictures = list_pictures([folder])
    target = Target(tmp_path / "t.csv", (8, 8, 3))
    build_tables(pictures, [target])
    before = files_of(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skinmnist.datasets.images.building._line", fail)
    with pytest.raises(OSError, match="No space left"):
        build_tables(pictures, [Target(target.path, (4, 4, 3))])
    after = files_of(tmp_path)
    assert after.pop("t.csv.part")
    assert after == before


def test_all_columns_of_the_metadata_are_written(folder, tmp_path):
    paths = sorted(folder.rglob("*.png"))
    header = ["dx", "image_id", "lesion_id", "age", "note, or not"]
    rows = [[path.parent.name, path.stem, f"L{n // 2}", str(n), 'a "b", c'] for n, path in enumerate(paths)]
    rows.insert(4, ["a", "nowhere", "L9", "", ""])
    metadata = tmp_path / "m.csv"
    with metadata.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    target = Target(tmp_path / "t.csv", (8, 8, 3))
    build_tables(list_pictures([folder], metadata), [target])
    del rows[4]
    with (tmp_path / "t_metadata.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [header, *rows]
    table = load_hmnist(target.path)
    assert table.lesion_ids.tolist() == [row[2] for row in rows]
    assert table.clinical["age"].tolist() == list(range(30))
    assert about_file(target.path).is_file()


def test_the_real_thumbnails_give_the_rows_of_the_real_tables(real_tables, tmp_path):
    if not (real_tables / "images").is_dir():
        pytest.skip("the thumbnails are not beside the real tables: they lie in a folder images")
    pictures = list_pictures([real_tables / "images"], real_tables / "HAM10000_metadata.csv")
    build_tables(pictures, kaggle_targets(tmp_path))
    assert pictures.without_picture == 10015 - len(pictures)
    for name in ("hmnist_28_28_RGB", "hmnist_8_8_RGB"):
        whole, built = load_hmnist(real_tables / f"{name}.csv"), load_hmnist(tmp_path / f"{name}.csv")
        rows = np.flatnonzero(np.isin(whole.image_ids, built.image_ids))
        assert len(rows) == len(built) == 90
        np.testing.assert_array_equal(built.pixels, whole.pixels[rows])
        np.testing.assert_array_equal(built.labels, whole.labels[rows])
        assert built.image_ids.tolist() == whole.image_ids[rows].tolist()
        assert built.lesion_ids.tolist() == whole.lesion_ids[rows].tolist()
        assert built.class_names == whole.class_names


OUTCOMES = [b"abcdefgh", "received a damaged picture: ß", b"", b"\x00" * 8, b"12345678"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "t.csv.part"
    with ProgressFile(path, b"digest") as progress_file:
        for outcome in OUTCOMES:
            progress_file.append(outcome)
    return path


def stored(path, digest=b"digest"):
    return list(ProgressFile(path, digest).outcomes())


def test_what_is_noted_is_stored(path):
    assert stored(path) == OUTCOMES
    with ProgressFile(path, b"digest") as progress_file:
        assert progress_file.count == 5
        progress_file.append(b"more")
    assert stored(path) == [*OUTCOMES, b"more"]


def test_a_torn_end_is_cut_off_wherever_it_was_torn(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        outcomes = stored(path)
        assert outcomes == OUTCOMES[: len(outcomes)]
        assert len(outcomes) < 5
        with ProgressFile(path, b"digest") as progress_file:
            for outcome in OUTCOMES[progress_file.count :]:
                progress_file.append(outcome)
        assert path.read_bytes() == whole


def test_a_changed_byte_ends_what_is_believed(path):
    whole = bytearray(path.read_bytes())
    for position in range(6, len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        assert stored(path) == OUTCOMES[: len(stored(path))] != OUTCOMES


def test_zeros_are_no_record(path):
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert stored(path) == OUTCOMES


def test_a_progress_file_of_something_else_is_written_over(path):
    with ProgressFile(path, b"another") as progress_file:
        assert progress_file.count == 0
        progress_file.append(b"x")
    assert stored(path, b"another") == [b"x"]
    assert stored(path) == []
