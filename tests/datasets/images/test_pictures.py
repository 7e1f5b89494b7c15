import os
import threading
import warnings

import numpy as np
import pytest
from golden_pictures import ALPHA, BLOCKS, COLOURS, GOLDEN, over_white, saved
from hostile_pictures import BEYOND, DAMAGED, HOSTILE
from mutated_pictures import mutated_files
from PIL import Image

from skinmnist.datasets.images.limits import check_limits
from skinmnist.datasets.images.pictures import _LARGE, open_picture, picture_row
from skinmnist.errors import InputError

PNG = saved(Image.fromarray(COLOURS), "PNG")


def complaint(source):
    with pytest.raises(InputError) as error:
        open_picture(source)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_pictures(name):
    source, expected, tolerance = GOLDEN[name]
    if isinstance(expected, str):
        assert expected in complaint(source)
        return
    picture = open_picture(source)
    assert picture.mode == "RGB"
    found = np.asarray(picture).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures(name, monkeypatch):
    """Refused before a pixel is decoded; where there are too many pieces, before Pillow reads any."""
    make, expected = HOSTILE[name]
    content = make()
    monkeypatch.setattr(Image.Image, "load", None)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    if expected in (BEYOND, DAMAGED):
        monkeypatch.setattr(Image, "open", None)
    assert expected in complaint(content)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_declared_pixels(form):
    content = saved(Image.fromarray(BLOCKS), form)
    assert check_limits(content) == BLOCKS.shape[0] * BLOCKS.shape[1]
    for end in range(0, len(content), 7):  # However it is cut, it is only looked at.
        check_limits(content[:end])


def test_a_large_picture_holds_up_no_small_one():
    with _LARGE:
        assert open_picture(PNG).mode == "RGB"


def test_there_are_enough_of_them():
    assert len(GOLDEN) >= 60


@pytest.mark.parametrize("name", [name for name, case in GOLDEN.items() if isinstance(case[0], bytes)])
def test_a_file_is_its_content(name, tmp_path):
    content, expected, _ = GOLDEN[name]
    path = tmp_path / "disguised.jpg"
    path.write_bytes(content)
    if isinstance(expected, str):
        assert complaint(path).startswith("picture 'disguised.jpg': received ")
        assert expected in complaint(str(path))
    else:
        assert np.array_equal(open_picture(path), open_picture(content))


@pytest.mark.parametrize("size", [28, 8])
def test_thumbnails_give_exactly_their_rows(size, real_tables):
    thumbnails = {path.stem: path for path in (real_tables / "images").glob("*.jpg")}
    if not thumbnails:
        pytest.skip("the thumbnails are not beside the real tables")
    lines = (real_tables / f"hmnist_{size}_{size}_RGB.csv").read_text().splitlines()[1:]
    known = (real_tables / "HAM10000_metadata.csv").read_text().splitlines()[1:]
    for description, line in zip(known, lines, strict=True):
        if path := thumbnails.pop(description.split(",")[1], None):
            row = picture_row(open_picture(path), (size, size, 3))
            assert row.tolist() == [int(cell) for cell in line.split(",")[:-1]], path.name
    assert not thumbnails


@pytest.mark.parametrize("shape", [(4, 6, 3), (4, 6, 1), (4, 6)])
def test_an_array_of_the_right_size_is_its_own_row(shape):
    pixels = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    row = picture_row(open_picture(pixels), (4, 6, 3 if shape[2:] == (3,) else 1))
    assert row.dtype == np.uint8
    assert np.array_equal(row, pixels.ravel())


def test_arrays_with_alpha_lie_over_white():
    pixels = np.concatenate([COLOURS, ALPHA[:, :, None]], axis=2)
    difference = np.asarray(open_picture(pixels)) - over_white(COLOURS)
    assert np.abs(difference).max() <= 1


def test_one_channel_is_lightness():
    expected = np.rint(COLOURS @ [0.299, 0.587, 0.114]).ravel()
    row = picture_row(Image.fromarray(COLOURS), (4, 6, 1))
    assert np.abs(row - expected).max() <= 1


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((4, 6, 3)),
        np.zeros((4, 6, 2), dtype=np.uint8),
        np.zeros(24, dtype=np.uint8),
        np.zeros((0, 6), dtype=np.uint8),
        np.zeros((2, 4, 6, 3), dtype=np.uint8),
        None,
        7,
    ],
    ids=str,
)
def test_what_is_no_picture(source):
    assert "; expected " in complaint(source)


def test_only_opened_pictures_become_rows():
    with pytest.raises(InputError, match="expected RGB and 1 or 3 channels"):
        picture_row(Image.new("L", (4, 4)), (2, 2, 3))
    with pytest.raises(InputError, match="expected RGB and 1 or 3 channels"):
        picture_row(Image.new("RGB", (4, 4)), (2, 2, 4))


def test_the_source_stays_as_it_is():
    image = Image.fromarray(COLOURS)
    opened = open_picture(image)
    opened.paste("red", (0, 0, 6, 4))
    assert np.array_equal(image, COLOURS)


@pytest.mark.parametrize("name", ["PNG turned 6", "JPEG turned 7", "PNG L, a level transparent"])
def test_opening_twice_is_opening_once(name):
    once = open_picture(GOLDEN[name][0])
    assert np.array_equal(open_picture(once), once)


def test_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    message = "is not a plain file; expected a picture, so name the file itself"
    assert complaint(tmp_path) == f"picture {tmp_path.name!r}: {message}"
    assert "is not a plain file" in complaint(tmp_path / "pipe.png")
    assert "does not exist" in complaint(tmp_path / "none.png")
    assert "is not a valid file name" in complaint("a\0b.png")
    assert "cannot be read (" in complaint("a" * 300)
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(33 * 2**20)
    assert "received a file of more than 32 MB" in complaint(tmp_path / "huge.png")


@pytest.mark.parametrize("name", ["a\x1b[31m.png", "line\nline.png", "\u202egnp.exe", "\udcff.png"])
def test_names_are_spelt_out(name, tmp_path):
    message = complaint(tmp_path / name)
    assert message.isprintable()
    assert str(tmp_path) not in message


def test_lazily_opened_pictures_of_other_formats(tmp_path):
    path = tmp_path / "whole.tif"
    Image.fromarray(COLOURS).save(path)
    with Image.open(path) as image:
        assert np.array_equal(open_picture(image), COLOURS)
    path.write_bytes(GOLDEN["PNG cut in half"][0])
    with pytest.raises(InputError, match="damaged or truncated picture"), Image.open(path) as image:
        open_picture(image)


def test_the_filters_of_warnings_stay_as_they_are():
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [open_picture(PNG) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_the_limit_of_pillow_counts_too(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert "too many pixels" in complaint(PNG)


def test_mutated_files_are_opened_or_refused():
    """A few hundred of those that `experiments/benchmarks/mutated_pictures.py` tries by the thousand."""
    opened, refused = 0, []
    for _, content in mutated_files(600, 1):
        try:
            opened += open_picture(content).mode == "RGB"
        except InputError as error:
            refused.append(str(error))
    assert opened + len(refused) == 600
    assert opened > 50
    assert len(refused) > 50
    assert all(sentence.isprintable() for sentence in refused)
