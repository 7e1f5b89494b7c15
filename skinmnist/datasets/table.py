"""The pixel table, which contains pictures as flat rows with their annotations, and sampling of its rows."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.text import LONGEST_NAME, is_name, printable, shown

#: Number of pictures per class displayed in a notebook.
_SHOWN_PICTURES = 8
#: Approximate height of these pictures in pixels.
_THUMBNAIL = 56
#: Gap between the pictures of a strip, in pixels.
_GAP = 4


@dataclass(frozen=True, eq=False)
class PixelTable:
    """Pictures as flat pixel rows; row *i* of every array describes the same picture.

    Attributes
    ----------
    pixels : ndarray of shape (n, height * width * channels), uint8
        Pixels in row-major order: height, width, channel. May be memory-mapped and read-only.
    labels : ndarray of shape (n,), int64
        Class codes from 0 to k - 1, which index `class_names`.
    class_names : tuple of str
        Class names in code order.
    shape : tuple of int
        ``(height, width, channels)`` of one picture.
    lesion_ids, image_ids : ndarray of shape (n,), str, or None
        Lesion id and image id of each picture; None if unknown.
    clinical : mapping of str to ndarray of shape (n,), or None
        Patient data by metadata column. Numbers, such as ``age`` in years, are float64, with NaN for unknown
        values; words are str, with ``""`` for unknown values. None if the table has no clinical columns.
    sources : mapping of str to ndarray of shape (n,), str
        Source of each picture by metadata column, such as ``dataset`` or ``camera``; ``""`` if unknown.
        Cross-validation can hold out one source at a time. Sources are never model inputs.
    parts : ndarray of shape (n,), str, or None
        The predefined split of each row: ``"train"``, ``"val"`` or ``"test"``. None if the table has no
        predefined split.
    name : str
        Short name used for folders and titles, such as ``"hmnist_28_28_RGB"``.
    origin : str
        Short description of the origin of the rows.
    inputs : tuple of (str, str)
        Name and SHA-256 of each input file.
    synthetic : bool
        Whether the pictures were rendered by `make_lesions`.
    notes : tuple of str
        Notes on how the table was read, such as the source of the class names or the number of unknown
        lesions.

    See Also
    --------
    load_table : Load a table from a file.
    make_lesions : Generate a synthetic table.

    Examples
    --------
    >>> from skinmnist import make_lesions
    >>> table = make_lesions(70, size=8)
    >>> table
    <PixelTable synthetic: 70 pictures of 8 x 8 x 3, 57 lesions, 7 classes>
    >>> table.n_lesions
    57
    >>> dict(zip(table.class_names, table.class_counts.tolist(), strict=True))
    {'akiec': 5, 'bcc': 5, 'bkl': 8, 'df': 5, 'nv': 34, 'vasc': 5, 'mel': 8}
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    lesion_ids: npt.NDArray[np.str_] | None = None
    image_ids: npt.NDArray[np.str_] | None = None
    clinical: Mapping[str, npt.NDArray[Any]] | None = None
    sources: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    parts: npt.NDArray[np.str_] | None = None
    name: str = "table"
    origin: str = "made in Python"
    inputs: tuple[tuple[str, str], ...] = ()
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.labels)
        height, width, channels = self.shape
        if self.pixels.dtype != np.uint8 or self.pixels.shape != (n, height * width * channels):
            raise InputError(
                f"table {self.name!r} received pixels of shape {self.pixels.shape} and type "
                f"{self.pixels.dtype}; expected ({n}, {height * width * channels}) of uint8 for {n} labels "
                f"and pictures of {height} x {width} x {channels}"
            )
        columns = {
            "lesion_ids": self.lesion_ids,
            "image_ids": self.image_ids,
            "parts": self.parts,
            **(self.clinical or {}),
            **self.sources,
        }
        for column, values in columns.items():
            if values is not None and len(values) != n:
                raise InputError(
                    f"table {self.name!r} received {len(values)} {column} for {n} rows; give one for each row"
                )
        for column, values in (self.clinical or {}).items():
            if values.dtype.kind not in "fU":
                raise InputError(
                    f"table {self.name!r} received the clinical column {column!r} of type {values.dtype}; "
                    "expected float64 with NaN, or str with '' where nothing is known"
                )
        for name in self.class_names:
            if not is_name(name):
                raise InputError(
                    f"table {self.name!r} received the class name {shown(name)}; expected 1 to "
                    f"{LONGEST_NAME} printable characters, so rename the class"
                )
        if len({*self.class_names}) < len(self.class_names):
            raise InputError(
                f"table {self.name!r} received the class names {shown(list(self.class_names))}; give each "
                "class a different name"
            )
        present = np.unique(self.labels)
        if not np.array_equal(present, np.arange(len(self.class_names))):
            raise InputError(
                f"table {self.name!r} received label codes {present.tolist()} for the classes "
                f"{list(self.class_names)}; expected each code 0 to {len(self.class_names) - 1} at least once"
            )

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Any,
        groups: Any = None,
        *,
        shape: Sequence[int] | None = None,
        class_names: Iterable[Any] | None = None,
        name: str = "table",
    ) -> PixelTable:
        """Create a table from your own pictures and labels.

        Parameters
        ----------
        X : array, list or data frame
            Pictures of shape ``(n, height, width)`` or ``(n, height, width, channels)``, flat rows of shape
            ``(n, columns)``, or a list of arrays or Pillow pictures of the same size, in grey (1 channel) or
            RGB (3 channels). Integers are interpreted as levels from 0 to 255, and so are floats if any
            exceeds 1; floats between 0 and 1 are multiplied by 255. `notes` describes how floats were
            interpreted. Pillow pictures are converted as in prediction: rotated upright, with transparency
            over white.
        y : array-like of shape (n,), or str
            Class of each picture: strings, integers or a categorical. If `X` is a data frame, `y` can be the
            name of a column.
        groups : array-like of shape (n,), or str, optional
            Lesion or patient of each picture, or the name of a column. Pictures in the same group always stay
            in the same fold.
        shape : tuple of int, optional
            ``(height, width, channels)`` of flat rows. By default, pictures are assumed to be square, and a
            note is added. Required for one array of shape ``(n, pixels, channels)`` or
            ``(n, channels, pixels)`` that may be grey or hold flat pictures of 4 x 4 or more.
        class_names : sequence of str, optional
            Order of the classes, or names for the integers 0 to k - 1. By default, classes are sorted.
        name : str
            Short name of the table.

        Returns
        -------
        PixelTable

        Raises
        ------
        InputError
            If lengths, values or shapes are invalid or inconsistent.

        Examples
        --------
        >>> import numpy as np
        >>> pictures = np.linspace(0, 1, 4 * 8 * 8 * 3).reshape(4, 8, 8, 3)
        >>> table = PixelTable.from_arrays(pictures, ["nv", "mel", "nv", "nv"], groups=[1, 2, 3, 3])
        >>> table
        <PixelTable table: 4 pictures of 8 x 8 x 3, 3 lesions, 2 classes>
        >>> table.notes
        ('floats were interpreted as pixels of 0-1, and multiplied by 255',)
        """
        from skinmnist.datasets.from_arrays import table_from_arrays

        return table_from_arrays(X, y, groups, shape=shape, class_names=class_names, name=name)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        height, width, channels = self.shape
        lesions = "lesions unknown" if self.lesion_ids is None else f"{self.n_lesions:,} lesions"
        return (
            f"<PixelTable {self.name}: {len(self):,} pictures of {height} x {width} x {channels}, "
            f"{lesions}, {len(self.class_names)} classes>"
        )

    def _repr_html_(self) -> str:
        """Return HTML for notebooks with the repr of the table and a few pictures per class."""
        # Large pictures are downsampled, because notebooks store their output.
        thin = max(1, self.shape[0] // _THUMBNAIL)
        rows = []
        for code, (name, count) in enumerate(zip(self.class_names, self.class_counts, strict=True)):
            few = self.pixels[np.flatnonzero(self.labels == code)[:_SHOWN_PICTURES]]
            uri = png_uri(picture_strip(to_images(few, self.shape)[:, ::thin, ::thin]))
            class_name = html.escape(name)
            rows.append(
                f"<tr><th style='text-align:left'>{class_name}</th>"
                f"<td style='text-align:right'>{count:,}</td><td style='text-align:left'>"
                f"<img src='{uri}' style='margin:0' alt='Pictures of class {class_name}'></td></tr>"
            )
        head = "<tr><th style='text-align:left'>class</th><th>pictures</th><th></th></tr>"
        notes = "".join(f"<p>Note: {html.escape(printable(note))}</p>" for note in self.notes)
        about = html.escape(printable(repr(self)[1:-1]))
        return f"<p>{about}</p><table>{head}{''.join(rows)}</table>{notes}"

    @property
    def n_lesions(self) -> int | None:
        """Number of distinct lesions, or None if lesions are unknown."""
        return None if self.lesion_ids is None else len(np.unique(self.lesion_ids))

    @property
    def class_counts(self) -> npt.NDArray[np.int64]:
        """Number of rows per class in code order, shape (k,)."""
        return np.bincount(self.labels, minlength=len(self.class_names)).astype(np.int64)

    @property
    def lesion_counts(self) -> npt.NDArray[np.int64] | None:
        """Number of distinct lesions per class in code order, or None if lesions are unknown."""
        if self.lesion_ids is None:
            return None
        codes = range(len(self.class_names))
        counts = [len(np.unique(self.lesion_ids[self.labels == code])) for code in codes]
        return np.asarray(counts, dtype=np.int64)

    def digest(self) -> str:
        """SHA-256 of all data that scores depend on: pixels, labels, shape, class names and lesions.

        Clinical columns are excluded because image models do not use them; changing these columns therefore
        does not invalidate finished cells. Models with clinical inputs include them in their own identity.

        Examples
        --------
        >>> table.digest() == make_lesions(70, size=8).digest()
        True
        >>> table.digest() == make_lesions(70, size=8, random_state=1).digest()
        False
        """
        state = hashlib.sha256(repr((self.shape, self.class_names, self.pixels.shape)).encode())
        state.update(np.ascontiguousarray(self.pixels).data)
        state.update(np.ascontiguousarray(self.labels).data)
        if self.lesion_ids is not None:
            state.update("\n".join(self.lesion_ids.tolist()).encode(errors="surrogatepass"))
        return state.hexdigest()

    def take(self, rows: npt.NDArray[np.integer], name: str | None = None) -> PixelTable:
        """Return a table with the given rows in the given order.

        Raises
        ------
        InputError
            If a class would be left without rows.

        Examples
        --------
        >>> by_class = table.take(np.argsort(table.labels, kind="stable"))
        >>> by_class.labels[:6].tolist()
        [0, 0, 0, 0, 0, 1]
        """
        return replace(
            self,
            pixels=self.pixels[rows],
            labels=self.labels[rows],
            lesion_ids=None if self.lesion_ids is None else self.lesion_ids[rows],
            image_ids=None if self.image_ids is None else self.image_ids[rows],
            parts=None if self.parts is None else self.parts[rows],
            clinical=self.clinical and {column: values[rows] for column, values in self.clinical.items()},
            sources={column: values[rows] for column, values in self.sources.items()},
            name=name or self.name,
        )


def to_images(rows: npt.NDArray[np.generic], shape: tuple[int, int, int]) -> npt.NDArray[np.generic]:
    """Reshape flat rows ``(n, h*w*c)`` into pictures ``(n, h, w, c)`` without copying.

    Examples
    --------
    >>> to_images(np.arange(24).reshape(2, 12), (2, 2, 3)).shape
    (2, 2, 2, 3)
    """
    return rows.reshape(len(rows), *shape)


def to_rows(images: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Reshape pictures ``(n, h, w, c)`` into flat rows ``(n, h*w*c)``; the inverse of `to_images`.

    Examples
    --------
    >>> rows = np.arange(24).reshape(2, 12)
    >>> np.array_equal(to_rows(to_images(rows, (2, 2, 3))), rows)
    True
    """
    return images.reshape(len(images), -1)


def picture_strip(pictures: npt.NDArray[np.generic], size: int = _THUMBNAIL) -> npt.NDArray[np.uint8]:
    """Arrange pictures (m, height, width, channels) side by side, each enlarged to about `size` pixels.

    A single channel is shown as grey; otherwise the first three channels are red, green and blue. Returns
    RGBA pixels of shape (height, width, 4) with transparent gaps.
    """
    m, height, width, channels = pictures.shape
    pictures = pictures[..., :3] if channels >= 3 else np.repeat(pictures[..., :1], 3, axis=-1)
    factor = max(1, round(size / height))
    large = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    step = width * factor + _GAP
    canvas = np.zeros((height * factor, m * step - _GAP, 4), dtype=np.uint8)
    for position, picture in enumerate(large):
        canvas[:, position * step : position * step + width * factor, :3] = picture
        canvas[:, position * step : position * step + width * factor, 3] = 255
    return canvas


def png_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """Encode pixels of shape (height, width, 3 or 4) as a PNG data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    # Enlarged pixels are runs of equal bytes; a full match search is 30 times slower and compresses less.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_type=zlib.Z_RLE)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def sample_rows(
    table: PixelTable, n_rows: int, random_state: int = 0, min_lesions: int = 1
) -> npt.NDArray[np.int64]:
    """Sample whole lesions up to about `n_rows` rows while preserving the class proportions.

    Parameters
    ----------
    table : PixelTable
        The table to sample from. If lesions are unknown, every row counts as a separate lesion.
    n_rows : int
        Target size. The sample is smaller if whole lesions cannot fill the share of a class exactly.
    random_state : int
    min_lesions : int
        Minimum number of lesions per class, if the class has that many.

    Returns
    -------
    ndarray of shape (m,), int64
        Row numbers in ascending order; all rows if the table has at most `n_rows`.

    Raises
    ------
    InputError
        If `n_rows` is less than the number of classes.

    Examples
    --------
    >>> from skinmnist import make_lesions
    >>> table = make_lesions(200, size=8)
    >>> sample = table.take(sample_rows(table, 50))
    >>> len(sample) <= 50, len(sample.class_names)
    (True, 7)
    """
    n_classes = len(table.class_names)
    if n_rows < n_classes:
        raise InputError(
            f"expected a sample of at least one row for each of {n_classes} classes, got {n_rows}"
        )
    if n_rows >= len(table):
        return np.arange(len(table))
    rng = np.random.default_rng(random_state)
    lesions = np.arange(len(table)) if table.lesion_ids is None else table.lesion_ids
    chosen = []
    for code, quota in enumerate(_quotas(table.class_counts, n_rows)):
        rows = np.flatnonzero(table.labels == code)
        _, lesion_of = np.unique(lesions[rows], return_inverse=True)
        sizes = np.bincount(lesion_of)
        taken, total = np.zeros(len(sizes), dtype=bool), 0
        for lesion in rng.permutation(len(sizes)):
            if total + sizes[lesion] <= quota or taken.sum() < min_lesions:
                taken[lesion], total = True, total + sizes[lesion]
        chosen.append(rows[taken[lesion_of]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _quotas(counts: npt.NDArray[np.int64], n_rows: int) -> npt.NDArray[np.int64]:
    """Allocate rows to classes proportionally by largest remainder, with at least one row per class."""
    exact = counts * n_rows / counts.sum()
    quotas = np.maximum(np.floor(exact).astype(np.int64), 1)
    missing = max(n_rows - int(quotas.sum()), 0)
    quotas[np.argsort(-(exact - np.floor(exact)), kind="stable")[:missing]] += 1
    return quotas


def example_rows(table: PixelTable, among: npt.NDArray[np.bool_], per_class: int) -> npt.NDArray[np.int64]:
    """Choose a few rows of each class as examples, from different lesions all over the table."""
    chosen = []
    for code in range(len(table.class_names)):
        rows = np.flatnonzero((table.labels == code) & among)
        if table.lesion_ids is not None:
            rows = rows[np.sort(np.unique(table.lesion_ids[rows], return_index=True)[1])]
        picks = np.linspace(0, len(rows) - 1, min(per_class, len(rows))).round().astype(int)
        chosen.append(rows[picks])
    return np.concatenate(chosen)
