"""Open untrusted pictures safely and convert them to the same rows as in the pixel tables.

Training and prediction use the same steps to convert a picture to a row:

    file, bytes, array -> bytes and pieces within limits -> PNG, JPEG, WebP or BMP only
    -> size within limits -> first frame, decoded -> rotated according to its EXIF -> RGB
    -> LANCZOS to the size of the table -> row
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms

from skinmnist.datasets.images.limits import LARGE_PIXELS, check_density, check_limits
from skinmnist.errors import InputError
from skinmnist.text import shown

#: Types that `open_picture` accepts.
Source: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[np.uint8]
)

#: Accepted formats; no other Pillow reader is used.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
FORMATS_SAID = "PNG, JPEG, WebP or BMP"
MAX_BYTES = 32 * 2**20
#: Maximum number of pixels, sufficient for 48-megapixel phones; decoding takes 200 MB, or 600 MB with alpha.
MAX_PIXELS = 50_000_000
#: Maximum side length in pixels, as in JPEG; the weights for resizing take 48 bytes per pixel of a side.
MAX_SIDE = 65_535
_SIZE_EXPECTED = (
    f"expected 1 to {MAX_PIXELS:,} in all and at most {MAX_SIDE:,} along a side, so scale it down"
)
_RAW, _BITFIELDS = 0, 3

#: Operations that undo each EXIF orientation (CIPA DC-008, table 6).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: Lock that restricts large pictures to one at a time; opening 50 million pixels with alpha takes 600 MB.
_LARGE = threading.Lock()
_WITH_ALPHA = ("LA", "PA", "RGBA")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_BY_PILLOW = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


class _Silence:
    """Suppress warnings while any thread is in the context; warning filters are shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


#: Suppresses Pillow's warnings about metadata, which are not used, and about sizes, which are limited above.
_SILENCE = _Silence()


def open_picture(source: Source) -> Image.Image:
    """Open an untrusted picture and return it upright and in RGB.

    `source` is the path or the contents of a PNG, JPEG, WebP or BMP file (the first frame if animated), a
    Pillow picture in any mode (see `to_rgb`), or uint8 pixels of shape (height, width), (height, width, 1),
    (height, width, 3) or (height, width, 4); four channels are RGBA. An invalid orientation is ignored.
    Error messages contain the file name without its folders, with unusual characters escaped.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            return _decoded(_read(path))
        except InputError as error:
            raise InputError(f"picture {shown(path.name)}: {error}") from None
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded(bytes(source))
    if isinstance(source, np.ndarray):
        source = _of_array(source)
    if isinstance(source, Image.Image):
        with _refusing(b""):
            return _upright_rgb(source)
    raise InputError(
        f"received {type(source).__name__} for a picture; expected a path, the content of a file as bytes, "
        "a Pillow picture, or an array of uint8"
    )


def picture_row(image: Image.Image, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Convert an RGB picture to a uint8 row exactly as in the pixel tables.

    `shape` is the table's ``(height, width, channels)``. If it has one channel, the picture is converted to
    ITU-R 601 luma before it is resized. As in the tables, the aspect ratio is not preserved.
    """
    height, width, channels = shape
    if image.mode != "RGB" or channels not in (1, 3) or min(height, width) < 1:
        raise InputError(
            f"received a picture of mode {image.mode!r} for a row of {height} x {width} x {channels}; "
            "expected RGB and 1 or 3 channels, so open it with open_picture"
        )
    if channels == 1:
        image = image.convert("L")
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)).reshape(-1)


def _read(path: Path) -> bytes:
    """Return the contents of a regular file that does not exceed the size limit."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError("is not a plain file; expected a picture, so name the file itself")
        _check_bytes(status.st_size)
        with path.open("rb") as file:
            # The file may grow during reading.
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError("does not exist; expected a picture, so check its name and folder") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = (getattr(error, "strerror", None) or "its name is not a valid file name").lower()
        raise InputError(f"cannot be read ({reason}); expected a readable picture") from None


def _decoded(content: bytes) -> Image.Image:
    _check_bytes(len(content))
    turn = _LARGE if check_limits(content) > LARGE_PIXELS else nullcontext()
    with turn, _refusing(content), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.format == "BMP" and image.info.get("compression") not in (_RAW, _BITFIELDS):
            raise InputError(
                "received a compressed BMP; expected an uncompressed one, so save it again as PNG"
            )
        _check_size(image)
        check_density(image.width * image.height, len(content))
        return _upright_rgb(image, copied=False)


@contextmanager
def _refusing(content: bytes) -> Iterator[None]:
    """Convert any Pillow error to an `InputError`, and suppress Pillow's warnings."""
    with _SILENCE:
        try:
            yield
        except InputError:
            raise
        except Image.DecompressionBombError:
            raise InputError(f"received a picture with too many pixels; {_SIZE_EXPECTED}") from None
        except Image.UnidentifiedImageError:
            begins = f"a file that begins with {content[:8]!r}" if content else "an empty file"
            raise InputError(
                f"received {begins}, which is not a complete {FORMATS_SAID}, whatever its name says; "
                "save it again as one of these"
            ) from None
        except Exception as error:
            # Damaged files make decoders raise many kinds of errors: SyntaxError, struct.error, KeyError ...
            raise InputError(
                f"received a damaged or truncated picture ({type(error).__name__}); expected a "
                "complete one, so save or send it again"
            ) from None


def _upright_rgb(image: Image.Image, copied: bool = True) -> Image.Image:
    """Decode a picture and rotate it upright; with `copied=False`, the result may be the same object."""
    _check_size(image)
    image.load()
    turn = _TURNS.get(_orientation(image))
    as_it_is = not copied and image.mode == "RGB" and "transparency" not in image.info
    upright = image if as_it_is else to_rgb(image)
    if turn is not None:
        upright = upright.transpose(turn)
    # Remove the orientation to avoid a second rotation if the result is opened again.
    upright.info.clear()
    return upright


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(f"received a picture of {width:,} x {height:,} pixels; {_SIZE_EXPECTED}")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Cameras and editors may write invalid EXIF data into valid pictures.
        return 1


def _of_array(pixels: npt.NDArray[np.generic]) -> Image.Image:
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    if pixels.dtype != np.uint8 or not fits:
        raise InputError(
            f"received an array of shape {pixels.shape} and type {pixels.dtype} for a picture; expected "
            "uint8 of (height, width), (height, width, 3) or (height, width, 4)"
        )
    if 0 in pixels.shape:
        raise InputError(f"received an array of shape {pixels.shape} for a picture; expected some pixels")
    if pixels.shape[2:] == (1,):
        pixels = pixels[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _check_bytes(count: int) -> None:
    if count > MAX_BYTES:
        raise InputError(
            f"received a file of more than {MAX_BYTES // 2**20} MB; expected a smaller one, so scale the "
            "picture down or save it as JPEG"
        )


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded picture in any mode to a new RGB picture by fixed rules.

    =====================================  ===============================================================
    Pillow mode                            Conversion to RGB
    =====================================  ===============================================================
    ``1``, ``L``                           grey: the same level in all three channels
    ``P``                                  the colours of its palette
    ``RGB``, ``RGBX``                      unchanged
    ``LA``, ``PA``, ``RGBA``, and any of   composited over white
    the above with one colour or palette
    entry marked transparent
    ``La``, ``RGBa``                       the same, after dividing the colours by alpha
    ``I;16`` and its variants              the upper 8 of the 16 bits, as Pillow reads 16-bit colour; grey
    ``I``, ``F``                           grey, levels 0 to 255 as Pillow writes them, halves rounded to
                                           even; other values raise an error instead of being clipped
    ``CMYK``                               (255 - ink) * (255 - black) / 255, as in Pillow
    ``YCbCr``, ``HSV``                     Pillow's conversion
    ``LAB``                                converted to sRGB by LittleCMS, white point D50
    =====================================  ===============================================================

    The background is white because viewers show transparent pictures on white, and because the models treat
    regions darker than their surroundings as lesions, so a black background would create one. Colour profiles
    are ignored, as in the original pixel tables.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return _of_16_bits(image)
    if mode in ("I", "F"):
        return _of_numbers(image)
    if mode in _PREMULTIPLIED:
        return _over_white(image.convert(_PREMULTIPLIED[mode]))
    if mode in _WITH_ALPHA or (mode in _BY_PILLOW and "transparency" in image.info):
        return _over_white(image)
    if mode == "LAB":
        return _of_lab(image)
    if mode in _BY_PILLOW:
        return image.convert("RGB") if mode != "RGB" else image.copy()
    raise InputError(
        f"received a picture of Pillow's mode {mode!r}; expected grey or colour, so convert it to RGB"
    )


def _over_white(image: Image.Image) -> Image.Image:
    colours = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(colours.convert("RGB"), mask=colours.getchannel("A"))
    return white


def _of_16_bits(image: Image.Image) -> Image.Image:
    levels = np.asarray(image)
    upper = (levels >> 8).astype(np.uint8)
    if isinstance(transparent := image.info.get("transparency"), int):
        upper[levels == transparent] = 255
    return Image.fromarray(upper).convert("RGB")


def _of_numbers(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    # In this form, the check also rejects NaN.
    if not bool(((values >= 0) & (values <= 255)).all()):
        raise InputError(
            f"received a picture of Pillow's mode {image.mode!r} with values from {values.min():g} to "
            f"{values.max():g}; expected levels from 0 to 255, so scale them"
        )
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _of_lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert converted is not None  # Only in-place conversions return None.
    return converted
