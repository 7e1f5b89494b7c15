"""Every way in which a picture holds its pixels, turned into red, green and blue by a written rule.

=====================================  ===============================================================
Pillow's mode                          becomes RGB as
=====================================  ===============================================================
``1``, ``L``                           grey: the same level in all three channels
``P``                                  the colours of its palette
``RGB``, ``RGBX``                      itself
``LA``, ``PA``, ``RGBA``, and any of   laid over white
the above with one colour or palette
entry named transparent
``La``, ``RGBa``                       the same, after alpha was divided out of the colours
``I;16`` and its kin                   the upper 8 of the 16 bits, as Pillow reads 16-bit colour; grey
``I``, ``F``                           grey, levels 0 to 255 as Pillow writes them, halves rounded to
                                       even; others are refused, so that nothing turns black unseen
``CMYK``                               255 - ink, times 255 - black, over 255: Pillow's rule
``YCbCr``, ``HSV``                     Pillow's rule
``LAB``                                sRGB by LittleCMS, white point D50
=====================================  ===============================================================

White, because that is what lies behind a transparent picture wherever people look at one, and because what
is darker than its surroundings is a lesion to every model here: black would invent one. Colour profiles are
ignored, as they were when the pixel tables were made.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

from skinmnist.errors import InputError

_WITH_ALPHA = ("LA", "PA", "RGBA")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_BY_PILLOW = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture of any mode into RGB.

    Parameters
    ----------
    image : Image
        Decoded; it stays as it is.

    Returns
    -------
    Image
        A new one, of mode ``RGB``.

    Raises
    ------
    InputError
        Where the mode is unknown, or where numbers of mode ``I`` or ``F`` are no levels from 0 to 255.
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
    # Said this way round, no number that is none slips through.
    if not bool(((values >= 0) & (values <= 255)).all()):
        raise InputError(
            f"received a picture of Pillow's mode {image.mode!r} with values from {values.min():g} to "
            f"{values.max():g}; expected levels from 0 to 255, so scale them"
        )
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _of_lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert converted is not None  # None is what the change of a picture in place would give.
    return converted
