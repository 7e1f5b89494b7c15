"""Occlusion maps: cover one region of a picture at a time to find the regions that support a prediction.

Reference: Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from skinmnist.features.image_ops import Shape

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

#: Number of patches along the shorter side; each overlaps its neighbours by half.
PATCHES = 6
#: Minimum length of the longer side of a drawn map in pixels.
LEAST_MAP_SIDE = 448
#: Colours of regions that support the prediction and of regions that contradict it.
FOR, AGAINST = (214, 40, 40), (38, 84, 205)
#: Maximum opacity of the colours.
MOST_COVER = 0.65
#: PNG keyword and text that distinguish a drawn map from the user's pictures.
_WRITTEN_BY = ("Software", "skinmnist")


def occlusion_map(predict_proba: Callable[[Pixels], Floats], row: Pixels, shape: Shape) -> Floats:
    """Measure the decrease in the predicted class's probability when patches are covered with skin colour.

    Returns the weighted mean decrease over the patches that cover each pixel, shape (height, width); patches
    centred near the pixel have larger weights. Negative values indicate an increase in probability.
    """
    picture = row.reshape(shape)
    boxes = _boxes(shape)
    covered = np.repeat(picture[None], len(boxes), axis=0)
    skin = _border_colour(picture)
    for one, (rows, columns) in zip(covered, boxes, strict=True):
        one[rows, columns] = skin
    probabilities = predict_proba(np.concatenate([row[None], covered.reshape(len(boxes), -1)]))
    answer = probabilities[0].argmax()
    falls = probabilities[0, answer] - probabilities[1:, answer]
    total, count = np.zeros(shape[:2]), np.zeros(shape[:2])
    side = boxes[0][0].stop
    tent = 1 - np.abs(np.arange(side) + 0.5 - side / 2) / (side / 2)
    for fall, box in zip(falls, boxes, strict=True):
        total[box] += fall * np.outer(tent, tent)
        count[box] += np.outer(tent, tent)
    return total / count


def draw_explanation(picture: Pixels, importance: Floats) -> bytes:
    """Draw a map of shape (height, width) over the enlarged picture and return it as a PNG.

    Red regions support the prediction; blue regions contradict it.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    height, width = importance.shape
    scale = -(-LEAST_MAP_SIDE // max(height, width))
    size = (width * scale, height * scale)
    colours = np.repeat(picture, 3 // picture.shape[2], axis=2)
    below = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.NEAREST), dtype=np.float64)
    strength = importance / max(np.abs(importance).max(), 1e-9)
    smooth = Image.fromarray(strength.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth, dtype=np.float64), -1, 1)[:, :, None]
    cover = MOST_COVER * np.abs(heat)
    blended = (1 - cover) * below + cover * np.where(heat > 0, FOR, AGAINST)
    written_by = PngInfo()
    written_by.add_text(*_WRITTEN_BY)
    stream = io.BytesIO()
    Image.fromarray(np.rint(blended).astype(np.uint8)).save(stream, "PNG", pnginfo=written_by)
    return stream.getvalue()


def is_explanation(head: bytes) -> bool:
    """Return whether the first bytes of a file identify it as a map drawn by `draw_explanation`."""
    return head.startswith(b"\x89PNG") and b"tEXt" + "\0".join(_WRITTEN_BY).encode() in head


def _boxes(shape: Shape) -> list[tuple[slice, slice]]:
    """Return overlapping patches as row and column slices that together cover every pixel."""
    side = max(2, min(shape[:2]) // PATCHES * 2)
    step = side // 2
    starts = [[*range(0, max(length - side, 0), step), max(length - side, 0)] for length in shape[:2]]
    return [(slice(top, top + side), slice(left, left + side)) for top in starts[0] for left in starts[1]]


def _border_colour(picture: Pixels) -> Pixels:
    """Return the median colour of the border pixels, which usually show skin in dermoscopic pictures."""
    border = np.ones(picture.shape[:2], dtype=bool)
    border[1:-1, 1:-1] = False
    return np.asarray(np.median(picture[border], axis=0)).astype(np.uint8)
