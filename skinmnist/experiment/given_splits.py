"""Given splits: read from a file, published under a name, or defined by the sources of the pictures."""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.decoding import OPTIONAL, Count
from skinmnist.datasets.dialects import unpacked
from skinmnist.datasets.files import decode, place, read_file, without_mark
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.splits import (
    ALWAYS_TRAINED,
    LEFT_OUT,
    MOST_FOLDS,
    VALIDATION,
    GivenFolds,
    Split,
    choose_split,
    parts_of_size,
    spread,
    training_rows,
)
from skinmnist.text import is_name, shown

#: Splits shipped with the package, with their published numbers of training, validation and test pictures.
PUBLISHED = {"dermamnist": (7007, 1003, 2005), "dermamnist-c": (8215, 573, 1227)}
#: Name of the split that is stored in a table.
OWN = "own"
#: Prefix for the name of a metadata column whose groups are held out in turn.
BY_COLUMN = "column:"
#: Groups with fewer pictures are never held out.
FEWEST_PICTURES = 20

_PARTS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
_PARTS |= {name: name for name in ("train", "val", "test")}
_UNUSED = ("", "none", "unused")
#: Maximum number of ids to list in a sentence.
_NAMED = 3
_Words = npt.NDArray[np.str_]
_Folds = npt.NDArray[np.int8]


def find_split(
    table: PixelTable,
    split: str | os.PathLike[str] | GivenFolds | None,
    repeats: int = 1,
    rows: npt.NDArray[np.int64] | None = None,
) -> Split | GivenFolds:
    """Return the requested split, as a kind of split to draw or as given folds.

    Parameters
    ----------
    table : PixelTable
    split : str, path, GivenFolds or None
        ``"lesion"``, ``"image"``, ``"holdout"``; a name in `PUBLISHED`; ``"own"`` for the sets stored in the
        table; ``"column:NAME"``; or a CSV. None selects the sets stored in the table, if any, and otherwise
        the default of `choose_split`.
    repeats : int
        Number of training runs on given folds, each with other seeds.
    rows : ndarray of int, optional
        Rows of the table to use.

    Raises
    ------
    InputError
        If the split is invalid or does not match the table.
    """
    if isinstance(split, GivenFolds):
        return split
    if split is None and table.parts is not None:
        split = OWN
    if split is None or split in ("lesion", "image", "holdout"):
        return choose_split(table, None if split is None else str(split))
    if repeats < 1:
        raise InputError(f"received {repeats} repeats; expected at least 1")
    given = _read_given(table, os.fspath(split))
    fold_of, folds = given.fold_of[0], given.folds
    if rows is not None:
        fold_of = np.full_like(fold_of, LEFT_OUT)
        fold_of[rows] = given.fold_of[0, rows]
    _check(given, fold_of, table)
    if rows is not None and given.split == "given holdout":
        fold_of, folds = _in_parts(fold_of)
    notes = (*given.notes, *_lacking(given, fold_of, table))
    return replace(given, fold_of=np.tile(fold_of, (repeats, 1)), folds=folds, notes=notes)


def _read_given(table: PixelTable, word: str) -> GivenFolds:
    if word in PUBLISHED:
        return published_split(word, table)
    if word == OWN:
        return _own_parts(table)
    if word.startswith(BY_COLUMN):
        return split_by_column(word.removeprefix(BY_COLUMN), table)
    if not Path(word).exists() and not Path(word).suffix and os.sep not in word:
        known = ["lesion", "image", "holdout", *([] if table.parts is None else [OWN]), *PUBLISHED]
        near = difflib.get_close_matches(word, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(known)}, column:NAME or a CSV"
        raise InputError(f"unknown split {shown(word)}; {hint}")
    return read_split(Path(word), table)


def _in_parts(fold_of: _Folds) -> tuple[_Folds, int]:
    """Divide the training set of a holdout into folds about as large as the test set; return their number."""
    fold_of, train = fold_of.copy(), np.flatnonzero(training_rows(fold_of, 0))
    tested = np.count_nonzero(fold_of == 0)
    folds = parts_of_size(tested / (tested + len(train)), len(train))
    fold_of[train] = spread(len(train), folds)
    return fold_of, folds


def _check(given: GivenFolds, fold_of: _Folds, table: PixelTable) -> None:
    """Raise an InputError if a held-out set is empty or a training set lacks a class."""
    for fold, name in enumerate(given.groups):
        if not (fold_of == fold).any():
            raise InputError(
                f"split {given.origin}: the part {shown(name)} has no pictures to report on; expected at "
                "least one, so fix the split"
            )
        lacking = _classes_without(table, training_rows(fold_of, fold))
        if lacking:
            raise InputError(
                f"split {given.origin}: no picture of {lacking} is left to train on when {shown(name)} is "
                "held out; move some to the training part, or remove the class"
            )


def _lacking(given: GivenFolds, fold_of: _Folds, table: PixelTable) -> list[str]:
    """Return notes on the classes that are missing from a held-out set."""
    found = {name: _classes_without(table, fold_of == fold) for fold, name in enumerate(given.groups)}
    return [
        f"the held-out part {shown(name)} has no pictures of {lacking}: its scores are over the other classes"
        for name, lacking in found.items()
        if lacking
    ]


def _classes_without(table: PixelTable, rows: npt.NDArray[np.bool_]) -> str:
    present = set(np.unique(table.labels[rows]).tolist())
    return ", ".join(name for code, name in enumerate(table.class_names) if code not in present)


def published_split(name: str, table: PixelTable) -> GivenFolds:
    """Return a published split of HAM10000; raises InputError for any other table."""
    file = Path(__file__).parents[1] / "datasets" / "published" / f"{name}.txt"
    part_of, part = dict[str, str](), ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            part = line.strip("[]")
        elif not line.startswith("#"):
            part_of |= {f"ISIC_{int(number):07d}": part for number in line.split()}
    ids = _image_ids(table, f"the split {name}")
    words = np.array([part_of.get(one, "train") for one in ids])
    counts = tuple(int(np.count_nonzero(words == word)) for word in ("train", "val", "test"))
    if counts != PUBLISHED[name] or len({*ids}) != len(ids):
        found, wanted = (" / ".join(f"{count:,}" for count in three) for three in (counts, PUBLISHED[name]))
        raise InputError(
            f"table {table.name!r} has {found} pictures in train / val / test of {name}, but {wanted} are "
            "published; expected a table with all pictures of HAM10000, each once, with their image_ids"
        )
    return _parts(words, name)


def _own_parts(table: PixelTable) -> GivenFolds:
    if table.parts is None:
        raise InputError(
            f"table {table.name!r} has no split of its own; expected a table with stored parts, such as "
            "dermamnist.npz, so name another split"
        )
    return _parts(table.parts, OWN)


def _parts(words: _Words, origin: str) -> GivenFolds:
    """Create folds from one word per row: train, val or test; rows with other words are not used."""
    fold_of = np.full(len(words), LEFT_OUT, dtype=np.int8)
    for name, fold in (("train", ALWAYS_TRAINED), ("val", VALIDATION), ("test", 0)):
        fold_of[words == name] = fold
        if fold != VALIDATION and name not in words:
            raise InputError(
                f"split {origin}: the part {name!r} has no pictures; expected some to train on and some to "
                "report on, so fix the split"
            )
    fold_of, folds = _in_parts(fold_of)
    return GivenFolds(fold_of[None], folds, "given holdout", origin, ("test",))


def split_by_column(column: str, table: PixelTable) -> GivenFolds:
    """Hold out one group of a column at a time, keeping all pictures of a lesion together.

    A lesion with pictures in several groups is assigned to the group that contains most of them. Groups with
    fewer than `FEWEST_PICTURES` pictures, and groups that contain all pictures of a class, are always used
    for training. Pictures whose group is unknown are not used. The result includes notes on all of these.
    """
    words, notes = np.array(_words_of(column, table)), []
    if unknown := int(np.count_nonzero(words == "")):
        notes.append(f"{_pictures(unknown)} of unknown {column} left out of this run")
    if table.lesion_ids is not None:
        words, moved = _whole_lesions(words, table.lesion_ids)
        if moved:
            notes.append(f"{_pictures(moved)} moved to the {column} of most pictures of the same lesion")
    names = sorted({*words.tolist()} - {""})
    kept = {name: _never_held_out(words, name, table) for name in names}
    notes += [f"{column} {shown(name)} is never held out: {why}" for name, why in kept.items() if why]
    held = [name for name, why in kept.items() if not why]
    if not 1 <= len(held) <= MOST_FOLDS or len(names) < 2:
        raise InputError(
            f"the column {column!r} of table {table.name!r} has {len(names)} groups, of which {len(held)} "
            f"can be left out; expected 1 to {MOST_FOLDS} in addition to others, so name another column"
            + "".join(f" ({note})" for note in notes[-1:])
        )
    fold_of = np.full(len(table), LEFT_OUT, dtype=np.int8)
    for fold, name in enumerate(held):
        fold_of[words == name] = fold
    fold_of[np.isin(words, [name for name in names if kept[name]])] = ALWAYS_TRAINED
    kind: Split = "given" if len(held) > 1 else "given holdout"
    fold_of, folds = (fold_of, len(held)) if len(held) > 1 else _in_parts(fold_of)
    return GivenFolds(fold_of[None], folds, kind, f"{BY_COLUMN}{column}", tuple(held), tuple(notes))


def _pictures(number: int) -> str:
    return "1 picture is" if number == 1 else f"{number:,} pictures are"


def _words_of(column: str, table: PixelTable) -> _Words:
    words = {name: values for name, values in (table.clinical or {}).items() if values.dtype.kind == "U"}
    known = words | dict(table.sources)
    if column in known:
        return known[column]
    if not known:
        raise InputError(
            f"received the column {shown(column)}, but table {table.name!r} has no such columns; expected "
            "metadata with a text column, such as dataset, so name it with --metadata"
        )
    near = difflib.get_close_matches(column, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    raise InputError(
        f"the metadata of table {table.name!r} has no categorical column {shown(column)}; {hint}"
    )


def _whole_lesions(words: _Words, lesions: _Words) -> tuple[_Words, int]:
    """Assign all pictures of a lesion their most frequent word; ties are resolved alphabetically."""
    names, code = np.unique(words, return_inverse=True)
    lesion = np.unique(lesions, return_inverse=True)[1]
    counts = np.zeros((lesion.max() + 1, len(names)), dtype=np.int64)
    np.add.at(counts, (lesion, code), 1)
    counts[:, names == ""] = 0
    whole = np.where(words == "", words, names[counts.argmax(axis=1)][lesion])
    return whole, int(np.count_nonzero(whole != words))


def _never_held_out(words: _Words, name: str, table: PixelTable) -> str:
    """Return the reason why a group cannot be held out, or an empty string if it can."""
    own = words == name
    if own.sum() < FEWEST_PICTURES:
        return f"it has fewer than {FEWEST_PICTURES} pictures ({own.sum()})"
    lacking = _classes_without(table, ~own & (words != ""))
    return f"no other group has a picture of {lacking} to train on" if lacking else ""


class _Line(NamedTuple):
    where: str
    image_id: str
    word: str


def read_split(path: Path, table: PixelTable) -> GivenFolds:
    """Read a CSV with a column ``split`` or ``fold``, matched by ``image_id`` or by row order."""
    column, lines = _read_lines(path)
    said = [_part(line) for line in lines] if column == "split" else [line.word for line in lines]
    words = np.array(said, dtype=np.str_)[_rows_of(path, lines, table)]
    if column == "split":
        return _parts(words, path.name)
    names = sorted({*words.tolist()} - {*_UNUSED}, key=_number_or_word)
    if not 2 <= len(names) <= MOST_FOLDS:
        raise InputError(f"{path} has {len(names)} folds; expected 2 to {MOST_FOLDS}, so fix its column fold")
    fold_of = np.full(len(table), LEFT_OUT, dtype=np.int8)
    for fold, name in enumerate(names):
        fold_of[words == name] = fold
    return GivenFolds(fold_of[None], len(names), "given", path.name, tuple(names))


def _number_or_word(word: str) -> tuple[float, str]:
    return (float(word) if word.isdecimal() else np.inf, word)


def _read_lines(path: Path) -> tuple[str, list[_Line]]:
    """Return the name of the column with the set of each picture, and the rows of a file."""
    text = decode(without_mark(unpacked(read_file(path), path)), path)
    separator = next((sign for sign in ",;\t" if sign in text.partition("\n")[0]), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        column = _split_column(header, path)
        lines = [
            _read_line(cells, header, column, place(path, row, reader.line_num))
            for row, cells in enumerate(reader)
        ]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num} cannot be read as CSV ({error}); expected cells separated by "
            "commas, so fix the quotes in that line"
        ) from None
    if not lines:
        raise InputError(f"{path} has a header and no rows; expected one row for each picture, so add them")
    return column, lines


def _split_column(header: Sequence[str], path: Path) -> str:
    found = [name for name in header if name in ("split", "fold")]
    if len(found) != 1 or header.count("image_id") > 1:
        raise InputError(
            f"{path}, header (line 1): received {', '.join(map(shown, header[:8])) or 'nothing'}; "
            "expected one column split (train, val, test) or fold, and image_id unless the rows are in "
            "table order"
        )
    return found[0]


def _read_line(cells: Sequence[str], header: Sequence[str], column: str, where: str) -> _Line:
    if len(cells) != len(header):
        raise InputError(f"{where}: received {len(cells)} cells; expected {len(header)}, as in the header")
    word = cells[header.index(column)].strip().lower()
    if word and not is_name(word):
        raise InputError(f"{where}, column {column!r}: received {shown(word)}; expected plain text")
    return _Line(where, cells[header.index("image_id")].strip() if "image_id" in header else "", word)


def _part(line: _Line) -> str:
    if line.word in _UNUSED:
        return ""
    if line.word not in _PARTS:
        raise InputError(
            f"{line.where}, column 'split': received {shown(line.word)}; expected train, val, test, or "
            "an empty cell for an unused picture"
        )
    return _PARTS[line.word]


def _rows_of(path: Path, lines: Sequence[_Line], table: PixelTable) -> npt.NDArray[np.int64]:
    """Return the row of the file that belongs to each picture of the table."""
    if not any(line.image_id for line in lines):
        if len(lines) != len(table):
            raise InputError(
                f"{path} has {len(lines):,} rows and no image_id, but table {table.name!r} has "
                f"{len(table):,} pictures; expected one row for each, in the same order, or a column image_id"
            )
        return np.arange(len(table))
    ids, at = _image_ids(table, str(path)), dict[str, int]()
    for row, line in enumerate(lines):
        first = at.setdefault(line.image_id, row)
        if first != row:
            raise InputError(
                f"{line.where}: received image_id {shown(line.image_id)} as {shown(line.word)}, but row "
                f"{first} has it as {shown(lines[first].word)}; expected each picture once"
            )
    known = {*ids}
    unknown = _some([one for one in at if one not in known])
    if unknown:
        raise InputError(
            f"{path} names {unknown}, not in table {table.name!r}; expected image_ids of its pictures, so "
            "remove these rows or name the table that they describe"
        )
    missing = _some([one for one in ids if one not in at])
    if missing:
        raise InputError(
            f"{path} has no row for {missing} of table {table.name!r}; expected one for each picture, with "
            "an empty cell for an unused picture"
        )
    return np.array([at[one] for one in ids], dtype=np.int64)


def _some(ids: Iterable[str]) -> str:
    found = [shown(one) for one in ids]
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def _image_ids(table: PixelTable, asking: str) -> list[str]:
    if table.image_ids is None:
        raise InputError(
            f"{asking} needs image_ids, which table {table.name!r} does not have; name its "
            "metadata with --metadata"
        )
    ids: list[str] = table.image_ids.tolist()
    return ids


Role = Literal["held out", "trained on", "validation"]


@dataclass(frozen=True)
class SplitPart:
    """One set of a given split; its number of lesions is None if lesions are unknown."""

    name: str
    role: Role
    pictures: Count
    lesions: Count | None
    #: Number of lesions of each class, or of pictures if lesions are unknown.
    per_class: tuple[Count, ...]
    #: Pictures and lesions of a held-out set whose lesions also occur in the training set.
    seen_pictures: Count = field(default=0, metadata=OPTIONAL)
    seen_lesions: Count = field(default=0, metadata=OPTIONAL)


@dataclass(frozen=True)
class GivenInfo:
    """The entry of ``run.json`` for a split with named sets."""

    name: str
    parts: tuple[SplitPart, ...]

    @classmethod
    def of_folds(cls, given: GivenFolds, table: PixelTable) -> GivenInfo:
        """Describe the folds of a table; `GivenFolds.groups` contains the names of the held-out sets."""
        fold_of = given.fold_of[0]
        held = [fold_of == fold for fold in range(len(given.groups))]
        rest = (fold_of == ALWAYS_TRAINED) | (fold_of >= len(given.groups))
        trained = "train" if given.groups == ("test",) else "never held out"
        parts = [
            _describe(trained, "trained on", rest, table),
            _describe("val", "validation", fold_of == VALIDATION, table),
            *(
                _describe(name, "held out", own, table, training_rows(fold_of, fold))
                for fold, (name, own) in enumerate(zip(given.groups, held, strict=True))
            ),
        ]
        return cls(given.origin, tuple(part for part in parts if part.pictures))

    @property
    def held_out(self) -> tuple[SplitPart, ...]:
        """The held-out sets, in the order of the folds."""
        return tuple(part for part in self.parts if part.role == "held out")

    @property
    def column(self) -> str:
        """The property that distinguishes the held-out sets."""
        return self.name.removeprefix(BY_COLUMN) if self.name.startswith(BY_COLUMN) else "fold"

    @property
    def shared(self) -> str | None:
        """A sentence on lesions that are on both sides, or None if there are none."""
        held = self.held_out
        seen, pictures = sum(part.seen_pictures for part in held), sum(part.pictures for part in held)
        if not seen:
            return None
        of_lesions = f" ({held[0].seen_lesions:,} lesions)" if len(held) == 1 else ""
        return (
            f"In the split {self.name}, {seen:,} of {pictures:,} held-out pictures show a lesion that is "
            f"also in training pictures{of_lesions}: models can answer from memory, which usually raises "
            "scores."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """The warning to show at the start of a run: at most one sentence."""
        return (f"WARNING: {self.shared}",) if self.shared else ()


def _describe(
    name: str,
    role: Role,
    own: npt.NDArray[np.bool_],
    table: PixelTable,
    trained: npt.NDArray[np.bool_] | None = None,
) -> SplitPart:
    codes = range(len(table.class_names))
    lesions = table.lesion_ids
    if lesions is None:
        counts = tuple(int(np.count_nonzero(own & (table.labels == code))) for code in codes)
        return SplitPart(name, role, int(own.sum()), None, counts)
    seen = np.zeros(len(own), dtype=bool) if trained is None else own & np.isin(lesions, lesions[trained])
    return SplitPart(
        name=name,
        role=role,
        pictures=int(own.sum()),
        lesions=len(np.unique(lesions[own])),
        per_class=tuple(len(np.unique(lesions[own & (table.labels == code)])) for code in codes),
        seen_pictures=int(seen.sum()),
        seen_lesions=len(np.unique(lesions[seen])),
    )
