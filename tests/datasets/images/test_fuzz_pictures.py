"""Altered pictures: refused in one sentence, or opened as Pillow alone opens them; never anything else."""

import io
import warnings

import numpy as np
import pytest
from alterations import QUIETLY, altered_bytes, check_sentence
from golden_pictures import COLOURS, saved
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from mutated_pictures import with_right_sums
from PIL import Image, ImageOps

from skinmnist.datasets.images.pictures import open_picture
from skinmnist.errors import InputError

PICTURE = Image.fromarray(np.kron(COLOURS, np.ones((4, 4, 1), np.uint8)))
FILES = {
    "PNG": saved(PICTURE, "PNG"),
    "JPEG": saved(PICTURE, "JPEG", quality=90),
    "WEBP": saved(PICTURE, "WEBP", lossless=True),
    "BMP": saved(PICTURE, "BMP"),
}
#: Lengths and sizes that tip over, ends of files, and the beginnings of other formats.
TOKENS = [b"", b"\0", b"\xff", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xd9", b"IEND", b"GIF89a", b"MM\0*"]


def altered_pictures():
    """Draw a picture file with something wrong with it, half of the PNGs with checksums that are right."""
    altered = st.sampled_from(list(FILES.values())).flatmap(lambda content: altered_bytes(content, TOKENS))
    return altered | altered.map(with_right_sums)


def naive(content):
    """Open a picture as a script would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")


def check_picture(content):
    try:
        found = open_picture(content)
    except InputError as error:
        return check_sentence(str(error), most=400)
    assert found.mode == "RGB"
    if Image.open(io.BytesIO(content)).mode in ("RGB", "L"):  # What has alpha is laid over white here.
        np.testing.assert_array_equal(found, naive(content))
    return True


@pytest.mark.parametrize("form", FILES)
def test_the_whole_ones_are_opened(form):
    assert check_picture(FILES[form])


@settings(max_examples=200, derandomize=True, **QUIETLY)
@given(altered_pictures())
@example(b"")
def test_altered_pictures(content):
    check_picture(content)


@pytest.mark.slow
def test_ten_thousand_altered_pictures():
    verdicts = []

    @settings(max_examples=10_000, phases=[Phase.generate], **QUIETLY)
    @given(altered_pictures())
    def many(content):
        verdicts.append(check_picture(content))

    many()
    print(f"\n{len(verdicts):,} altered pictures, {sum(verdicts):,} opened as Pillow opens them")
