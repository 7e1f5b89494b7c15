"""Convert arrays, pictures, data frames and scikit-learn data sets to tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.datasets.classes_file import ONE_CLASS, note_spellings, spell_classes
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.names import did_you_mean
from skinmnist.text import shown

Array = npt.NDArray[Any]

_HOW = "expected a PixelTable, (X, y) or (X, y, groups)"


def as_table(data: Any, called: str = "run_comparison") -> PixelTable:
    """Convert any input that `run_comparison` accepts to a table; errors name the function `called`.

    Parameters
    ----------
    data : PixelTable, tuple or Bunch
        ``(X, y)`` or ``(X, y, groups)`` as in `table_from_arrays`, or a scikit-learn data set with
        ``target``, either ``images`` or ``data``, and optionally ``target_names``.

    Raises
    ------
    InputError
        If `data` has any other type.

    Examples
    --------
    >>> import numpy as np
    >>> as_table((np.zeros((4, 8, 8), np.uint8), ["nv", "mel", "nv", "mel"]))
    <PixelTable table: 4 pictures of 8 x 8 x 1, lesions unknown, 2 classes>
    """
    if isinstance(data, PixelTable):
        return data
    if isinstance(data, Mapping) and "target" in data and ("images" in data or "data" in data):
        names = data.get("target_names")
        if names is not None and len(names) == 1:
            names = None  # `fetch_openml` names the column of the target, not its classes.
        pictures = data["images"] if data.get("images") is not None else data["data"]
        return table_from_arrays(pictures, data["target"], class_names=names)
    if isinstance(data, tuple | list) and len(data) in (2, 3) and not np.isscalar(data[0]):
        return table_from_arrays(*data)
    if isinstance(data, str) or hasattr(data, "__fspath__"):
        raise InputError(
            f"received the path {shown(str(data))}; {_HOW}: read the file with load_hmnist(path)"
        )
    if hasattr(data, "shape"):
        raise InputError(
            f"received an array of shape {tuple(data.shape)} without labels; {_HOW}: pass both as a tuple, "
            f"as in {called}((X, y))"
        )
    raise InputError(f"received {shown(type(data).__name__)}; {_HOW}")


def table_from_arrays(
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    shape: Sequence[int] | None = None,
    class_names: Iterable[Any] | None = None,
    name: str = "table",
) -> PixelTable:
    """Create a table from pictures and labels; see `PixelTable.from_arrays`."""
    X, y, groups = _take_columns(X, y, groups)
    notes: list[str] = []
    images, given = _as_array(X, notes)
    height, width, channels = _shape_of(images.shape, shape if shape is not None else given, notes)
    labels = _labels_of(y)
    _check_lengths(images, X=len(images), y=len(labels), groups=None if groups is None else len(groups))
    pixels = _as_levels(images.reshape(len(images), -1), notes)
    notes += note_spellings(np.unique(labels).astype(str).tolist())
    codes, names = _encode(labels, _names_of(y, class_names))
    return PixelTable(
        pixels,
        codes,
        names,
        (height, width, channels),
        lesion_ids=None if groups is None else _groups_of(groups),
        name=name,
        notes=tuple(notes),
    )


def _take_columns(X: Any, y: Any, groups: Any) -> tuple[Any, Any, Any]:
    """Extract labels and groups that are given as column names of a data frame."""
    if not hasattr(X, "columns"):
        for name, value in (("y", y), ("groups", groups)):
            if isinstance(value, str):
                raise InputError(
                    f"received {name}={shown(value)}; expected one per picture: only a data frame has "
                    "named columns"
                )
        return X, y, groups
    asked = [name for name in (y, groups) if isinstance(name, str)]
    missing = [name for name in asked if name not in X.columns]
    if missing:
        near = did_you_mean(missing[0], [name for name in X.columns if isinstance(name, str)])
        raise InputError(f"received the column {shown(missing[0])}, which is not in the data frame{near}")
    y, groups = (X[column] if isinstance(column, str) else column for column in (y, groups))
    return X.drop(columns=asked), y, groups


def _as_array(X: Any, notes: list[str]) -> tuple[Array, tuple[int, ...] | None]:
    """Return the pictures as one array, and their shape if the input determines it."""
    if isinstance(X, str) or hasattr(X, "__fspath__"):
        raise InputError(f"received the path {shown(str(X))} as X; read it with load_hmnist(path)")
    if hasattr(X, "columns"):
        return _of_frame(X), None
    if hasattr(X, "toarray"):
        raise InputError("received a sparse matrix as X; make it dense: X.toarray()")
    in_list = isinstance(X, list | tuple)
    if in_list and any(hasattr(picture, "getbands") for picture in X):
        images = _stack(_opened(X, notes))
    elif in_list and any(hasattr(picture, "shape") for picture in X):
        images = _stack([_numbers(picture) for picture in X])
    else:
        images, in_list = _numbers(X), False
    if images.dtype.kind not in "biuf":
        first = images.flat[0] if images.size else "nothing"
        raise InputError(
            f"X is not numeric but holds {shown(str(first))}; expected pixels or pictures: open files with "
            "PIL.Image.open"
        )
    # The axes of one array do not tell pictures from flat channels; those of separate pictures do.
    return images, (*images.shape[1:], 1)[:3] if in_list and images.ndim > 2 else None


def _numbers(values: Any) -> Array:
    try:
        return np.asarray(values)
    except (ValueError, TypeError):
        raise InputError("the pictures of X differ in size; resize them to one size") from None


def _of_frame(frame: Any) -> Array:
    kinds = [dtype.kind for dtype in frame.dtypes]
    texts = [column for column, kind in zip(frame.columns, kinds, strict=True) if kind not in "biuf"]
    if texts:
        column = shown(str(texts[0]))
        raise InputError(f"the column {column} of X is not numeric; drop it, or name it: y={column}")
    values = frame.to_numpy()
    if values.dtype.kind != "O":
        return np.asarray(values)
    # Nullable columns, and columns of truth values beside numbers, are objects.
    floats: Array = frame.to_numpy(dtype=float, na_value=np.nan)
    if "f" in kinds or np.isnan(floats).any():
        return floats
    return floats.astype(bool if {*kinds} == {"b"} else np.int64)


def _opened(pictures: Sequence[Any], notes: list[str]) -> list[Array]:
    """Convert Pillow pictures as for prediction, and to grey if none of them has colours."""
    from PIL.Image import getmodebase

    from skinmnist.datasets.images.pictures import open_picture

    modes = sorted({getattr(picture, "mode", "RGB") for picture in pictures})
    mode = "L" if all(getmodebase(mode) == "L" for mode in modes) else "RGB"
    if modes != [mode]:
        notes.append(f"pictures of mode {', '.join(modes)} were converted to {mode}")
    arrays = []
    for number, picture in enumerate(pictures):
        try:
            arrays.append(np.asarray(open_picture(picture).convert(mode)))
        except InputError as error:
            raise InputError(f"picture {number}: {error}") from None
    return arrays


def _stack(arrays: Sequence[Array]) -> Array:
    for number, array in enumerate(arrays):
        if not array.ndim:
            raise InputError(
                f"picture {number} of X is {shown(str(array))}; expected an array of pixels, so leave it out"
            )
    sizes = sorted({array.shape for array in arrays})
    if len(sizes) > 1:
        one, other = (" x ".join(map(str, size)) for size in sizes[:2])
        raise InputError(f"the pictures of X differ in size ({one}, {other}); resize them to one size")
    return np.stack(arrays)


def _shape_of(
    received: tuple[int, ...], shape: Sequence[int] | None, notes: list[str]
) -> tuple[int, int, int]:
    """Return the (height, width, channels) of one picture; raise InputError if the shape is ambiguous."""
    if len(received) not in (2, 3, 4) or 0 in received:
        raise InputError(
            f"received X of shape {received}; expected (pictures, height, width), optionally followed by "
            "channels, or (pictures, columns)"
        )
    own = _with_channels_last(received) if len(received) == 4 else None
    if shape is not None:
        if not isinstance(shape, Sequence) or not all(isinstance(side, int | np.integer) for side in shape):
            raise InputError(f"received shape={shown(shape)}; expected (height, width, channels)")
        return _checked_shape(tuple(int(side) for side in shape), received)
    if own is not None:
        return own
    if len(received) == 3:
        return _grey_shape(received)
    columns = received[1]
    for channels in (1, 3):
        side = math.isqrt(columns // channels)
        if side**2 * channels == columns:
            notes.append(f"{columns:,} columns were interpreted as pictures of {side} x {side} x {channels}")
            return side, side, channels
    found = [(h, columns // c // h, c) for c in (3, 1) for h in _divisors(columns // c) if not columns % c]
    likely = sorted(found, key=lambda one: abs(math.log(one[0] / one[1])))[:3]
    raise InputError(
        f"received X of {columns:,} columns, which are not square pictures; give their shape, such as "
        f"{' or '.join(f'shape={one}' for one in likely)}"
    )


def _grey_shape(received: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of grey pictures; raise InputError if X may hold flat pictures of 4 x 4 or more."""
    _, height, width = received
    for pixels, channels in ((height, width), (width, height)):
        side = max(side for side in _divisors(pixels) if side**2 <= pixels)
        if channels in (1, 3) and side >= 4:
            first = ", with the channels last (np.moveaxis(X, 1, -1))," if channels == height else ""
            raise InputError(
                f"received X of shape {received}, which may be flat or grey pictures; give "
                f"shape={(side, pixels // side, channels)}{first} or shape={(height, width, 1)}"
            )
    return height, width, 1


def _checked_shape(shape: tuple[int, ...], received: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a shape with its channels; raise InputError unless X holds pictures or rows of that shape."""
    columns = math.prod(received[1:])
    sides = shape if len(shape) != 2 or 0 in shape else (*shape, columns // math.prod(shape))
    if len(sides) == 3 and min(sides) > 0 and sides[2] in (1, 3):
        height, width, channels = sides
        # An equal number of pixels is not enough: reshaping X in any other form would scramble its pictures.
        forms = [(height, width, channels), (height * width, channels), (columns,)]
        grey = [(height, width)] if channels == 1 else []
        if math.prod(sides) == columns and received[1:] in (*forms, *grey):
            return height, width, channels
        if received[1:] == (channels, height * width):
            raise _channels_first(received)
    raise InputError(
        f"received shape={shape} for X of shape {received}; expected (height, width, channels) of its "
        f"pictures, with 1 or 3 channels, whose product is {columns:,}"
    )


def _with_channels_last(received: tuple[int, ...]) -> tuple[int, int, int]:
    _, height, width, channels = received
    if channels in (1, 3):
        return height, width, channels
    if height in (1, 3):
        raise _channels_first(received)
    advice = "drop the alpha channel: X[..., :3]" if channels == 4 else "convert the pictures to RGB first"
    raise InputError(f"received X of shape {received}; expected 1 or 3 channels, got {channels}; {advice}")


def _channels_first(received: tuple[int, ...]) -> InputError:
    return InputError(
        f"received X of shape {received}, with the channels first; put them last: np.moveaxis(X, 1, -1)"
    )


def _divisors(number: int) -> list[int]:
    small = [one for one in range(1, math.isqrt(number) + 1) if number % one == 0]
    return sorted({*small, *(number // one for one in small)})


def _check_lengths(images: Array, X: int, y: int, groups: int | None) -> None:
    if y != X:
        single = "; X may be one picture: put it in a list" if y == 1 and images.ndim < 4 else ""
        raise InputError(f"received {X:,} pictures and {y:,} labels; expected one label per picture{single}")
    if groups is not None and groups != y:
        raise InputError(f"received {groups:,} groups for {y:,} pictures; expected one per picture")


def _as_levels(rows: Array, notes: list[str]) -> npt.NDArray[np.uint8]:
    """Convert values to levels from 0 to 255, and add a note on how they were interpreted."""
    if rows.dtype == np.uint8:
        # Copy the array, because the user may modify it later; a memory map is not copied.
        return rows if isinstance(rows, np.memmap) else np.array(rows)
    if rows.dtype == np.bool_:
        notes.append("False and True were interpreted as black and white")
        return rows.astype(np.uint8) * np.uint8(255)
    low, high = float(rows.min()), float(rows.max())
    if not math.isfinite(low + high):
        row, column = (int(place) for place in np.argwhere(~np.isfinite(rows))[0])
        raise InputError(
            f"picture {row} holds {rows[row, column]} (column {column}); expected numbers: drop the picture"
        )
    if low < 0:
        raise InputError(
            f"X holds negative values ({low:g} to {high:g}); expected pixels of 0-1 or 0-255, so undo the "
            "standardisation"
        )
    if high > 255:
        raise InputError(
            f"X holds values up to {high:g}; expected pixels of 0-1 or 0-255, so divide by {high:g}"
        )
    if rows.dtype.kind in "iu":
        return rows.astype(np.uint8)
    scale = 255.0 if high <= 1 else 1.0
    levels = np.rint(rows * scale if high <= 1 else rows)
    said = "0-1, and multiplied by 255" if high <= 1 else f"levels of 0-255 (the largest is {high:g})"
    rounded = high > 1 and not np.array_equal(levels, rows)
    notes.append(f"floats were interpreted as pixels of {said}{', and rounded' if rounded else ''}")
    return levels.astype(np.uint8)


def _labels_of(y: Any) -> Array:
    """Return the labels as a one-dimensional array of strings or integers."""
    if y is None:
        raise InputError("received no labels; give y, one label per picture")
    labels = _as_values(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not len(labels):
        advice = ", such as y.argmax(axis=1) of one-hot rows" if labels.ndim == 2 else ""
        raise InputError(f"received y of shape {labels.shape}; expected one label per picture{advice}")
    unknown = np.flatnonzero(pd.isna(labels))
    if len(unknown):
        raise InputError(
            f"picture {unknown[0]} has no label ({labels[unknown[0]]}); drop the picture or fill in its label"
        )
    if labels.dtype.kind == "f":
        if (labels != np.rint(labels)).any():
            odd = labels[labels != np.rint(labels)][0]
            raise InputError(f"received the label {odd:g}; expected classes: names or whole numbers")
        labels = labels.astype(np.int64)
    if labels.dtype.kind in "iub":
        return labels
    return np.asarray([_word(label) for label in labels])


def _as_values(values: Any) -> Array:
    """Convert values to an array, replacing missing values among strings with empty strings."""
    if isinstance(values, list | tuple) and any(isinstance(value, str) for value in values):
        return np.asarray(values, dtype=object)
    return np.asarray(values)


def _word(value: Any) -> str:
    return (value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)).strip()


def _names_of(y: Any, class_names: Iterable[Any] | None) -> tuple[str, ...] | None:
    """Return the class names in code order; a categorical defines its own."""
    if class_names is not None:
        if isinstance(class_names, str | Mapping) or not isinstance(class_names, Iterable):
            raise InputError(
                f"received class_names={shown(class_names)}; expected a list with one name per class"
            )
        words = [_word(name) for name in class_names]
        names = spell_classes(words)
        for place, name in enumerate(names):
            if name in names[:place]:
                first, word = words[names.index(name)], words[place]
                both = f"{shown(word)} twice" if word == first else f"{shown(first)} and {shown(word)}"
                why = "" if word == first else f": {ONE_CLASS}"
                raise InputError(f"received {both} in class_names; give each class a different name{why}")
        return tuple(names)
    dtype = getattr(y, "dtype", None)
    categories = getattr(dtype, "categories", None)
    if categories is None:
        return None
    return tuple(dict.fromkeys(spell_classes(_word(one) for one in categories if (y == one).any())))


def _encode(labels: Array, names: tuple[str, ...] | None) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the code of each label and the class names in code order."""
    if labels.dtype.kind == "U":
        labels = np.asarray(spell_classes(labels.tolist(), names or ()))
    found, codes = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise InputError(f"all labels are {shown(str(found[0]))}; expected at least two classes")
    words = [str(one) for one in found]
    if names is None:
        return codes.astype(np.int64), tuple(words)
    if set(words) <= set(names):
        places = np.array([names.index(word) for word in words])
    elif labels.dtype.kind in "iu" and found[0] >= 0 and found[-1] < len(names):
        places = found.astype(np.int64)
    else:
        known = set(names)
        odd = next(word for word in words if word not in known)
        raise InputError(
            f"received the label {shown(odd)} and class_names={list(names)}; expected labels among these "
            f"names, or their positions 0 to {len(names) - 1}"
        )
    absent = [one for place, one in enumerate(names) if place not in set(places.tolist())]
    if absent:
        raise InputError(f"no picture is labelled {shown(absent[0])}; remove it from class_names")
    return places[codes].astype(np.int64), names


def _groups_of(groups: Any) -> npt.NDArray[np.str_]:
    values = _as_values(groups)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise InputError(f"received groups of shape {values.shape}; expected one per picture")
    # Ids that differ only in blanks would split a lesion.
    words = np.asarray([_word(group) for group in values.tolist()])
    unknown = np.flatnonzero(pd.isna(values) | (words == ""))
    if len(unknown):
        raise InputError(
            f"picture {unknown[0]} has no group; give each picture one (a unique one if it is unknown)"
        )
    return words
