"""``python -m skinmnist.predict``: classify pictures with a trained model."""

from __future__ import annotations

import argparse
import glob
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinmnist import facts
from skinmnist.console.common import FAILED_PICTURES, command_parser, guarded, program, say
from skinmnist.text import printable, shell_word

if TYPE_CHECKING:
    from skinmnist.errors import InputError
    from skinmnist.inference.classifier import Classifier
    from skinmnist.inference.prediction import Prediction

#: Number of pictures that are classified before the first results are shown.
SHOWN_TOGETHER = 64
#: Length of a picture's name beyond which columns are not aligned.
WIDEST_NAME = 60
#: Suffixes of pictures in folders and patterns; files given by name may have any suffix.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_EXPLAINED = "-explained.png"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "predict",
        "Classify pictures with a model that `skinmnist train` has written.",
        (
            "model.skm lesion.jpg",
            "model.skm pictures --json",
            "model.skm lesion.jpg --top 1 --explain",
            "model.skm --card",
        ),
        closing="Exit code 0: every picture was answered; 1: some were not; 2: bad usage. "
        f"{facts.DISCLAIMER}",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file (.skm)")
    add(
        "images",
        metavar="IMAGE",
        nargs="*",
        help="pictures, folders of pictures, patterns such as '*.jpg', or the test part of a MedMNIST file",
    )
    add("--json", action="store_true", help="print one JSON object a line instead of a table")
    add("--card", action="store_true", help="print the model card as Markdown: data, scores, limits")
    add("--top", metavar="K", type=int, default=3, help="how many classes to show (default: 3)")
    add(
        "--explain",
        action="store_true",
        help="write <image>-explained.png, as in a.jpg-explained.png, beside each picture: "
        "red supports the answer, blue opposes it",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not options.images and not options.card:
        parser.error("the following arguments are required: IMAGE")
    return guarded(lambda: _predict(options))


def _predict(options: argparse.Namespace) -> int:
    from skinmnist.errors import InputError
    from skinmnist.inference.classifier import SYNTHETIC_WARNING, load_classifier
    from skinmnist.inference.prediction import SETS

    if options.top < 1:
        raise InputError(f"received --top {options.top}; expected at least 1")
    if _is_picture(Path(options.model)):
        raise InputError(
            f"{options.model} is a picture; name a model file first, as in "
            f"`{program('predict')} model.skm {options.model}`"
        )
    classifier = load_classifier(options.model)
    if options.card:
        print(classifier.card(), end="")
    if not options.images:
        return 0
    paths, failed = list_pictures(options.images)
    for complaint in failed:
        _complain(complaint)
    n_failed = len(failed)
    answers = _answers(classifier, paths)
    first = list(itertools.islice(answers, SHOWN_TOGETHER))
    widths = _widths(classifier, paths, [one.answer for _, one in first if not isinstance(one, InputError)])
    headed = options.json
    for path, answer in itertools.chain(first, answers):
        if isinstance(answer, InputError):
            _complain(str(answer))
            n_failed += 1
            continue
        if not headed:
            print(f"{'picture':<{widths[0]}}  {'answer':<{widths[1]}}  probabilities")
            headed = True
        _show(path, answer, options, widths)
        if options.explain:
            written = _explain(classifier, path, answer)
            n_failed += written is None
            if written is not None and not options.json:
                say(f"    explained: {written}")
    if not options.json:
        if classifier.manifest.synthetic:
            print(f"warning: {SYNTHETIC_WARNING}")
        if classifier.manifest.sets is not None:
            print(f"{SETS} {classifier.manifest.sets.promise}.")
        print(facts.DISCLAIMER)
    return FAILED_PICTURES if n_failed else 0


def list_pictures(names: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return the requested pictures without duplicates, and an error message for each name without pictures.

    A name is a file, a folder (without its subfolders), or a pattern with ``*``, ``?``, ``[...]``, or ``**``
    for any number of folders.
    """
    listed: dict[Path, None] = {}
    complaints = []
    for name in names:
        try:
            pictures, complaint = _pictures_of(name)
        except OSError as error:
            pictures, complaint = [], f"{name} cannot be read ({error.strerror}); check its name and rights"
        if complaint:
            complaints.append(complaint)
        listed.update(dict.fromkeys(pictures))
    return list(listed), complaints


def _pictures_of(name: str) -> tuple[list[Path], str]:
    """Return the pictures of one name, and an error message if there are none."""
    path = Path(name)
    if re.match("https?://", name, re.IGNORECASE):
        return [], f"{name} is a web address; expected a file, so download the picture first"
    if path.is_dir():
        # Like patterns, a folder omits hidden files: macOS writes a ._a.png beside a.png.
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        pictures = [file for file in files if _is_picture(file)]
        complaint = (
            f"the folder {name} holds no picture; expected files that end in {', '.join(SUFFIXES)}, or the "
            f"pattern {shell_word(path / '**')} for pictures in its subfolders"
        )
    elif path.exists() or not glob.has_magic(name):
        return [path], ""
    else:
        # Path.glob does not support absolute patterns.
        files = sorted(map(Path, glob.glob(name, recursive=True)))  # noqa: PTH207
        pictures = [file for file in files if _is_picture(file)]
        complaint = f"no picture matches the pattern {name}; check it"
    return pictures, _left_out(files) or ("" if pictures else complaint)


def _left_out(files: list[Path]) -> str:
    """Return a message about pictures of unsupported types; empty if there are none."""
    from skinmnist.datasets.images.folders import PICTURE_SUFFIXES, listed

    others = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES.difference(SUFFIXES)]
    if not others:
        return ""
    amount = "1 picture" if len(others) == 1 else f"{len(others):,} pictures"
    return f"left out {amount} of other types ({listed(others)}); convert them to PNG or JPEG first"


def _is_picture(file: Path) -> bool:
    """Return whether a file name is that of a picture and not of an explanation."""
    return file.is_file() and file.suffix.lower() in SUFFIXES and not file.name.endswith(_EXPLAINED)


def _answers(classifier: Classifier, paths: list[Path]) -> Iterator[tuple[Path, Prediction | InputError]]:
    from skinmnist.errors import InputError

    pictures = _pictures_in(paths)
    while part := list(itertools.islice(pictures, SHOWN_TOGETHER)):
        opened = (picture for _, picture in part if not isinstance(picture, InputError))
        answers = iter(classifier.classify_many(opened))
        for path, picture in part:
            yield path, picture if isinstance(picture, InputError) else next(answers)


def _pictures_in(paths: Iterable[Path]) -> Iterator[tuple[Path, Any]]:
    """Yield each picture, and the test set of each MedMNIST file, or the error of one that is invalid."""
    for path in paths:
        if path.suffix.lower() != ".npz":
            yield path, path
            continue
        import numpy as np

        from skinmnist.datasets.medmnist import load_medmnist
        from skinmnist.datasets.table import to_images
        from skinmnist.errors import InputError

        try:
            table = load_medmnist(path)
        except InputError as error:
            yield path, error
            continue
        rows = np.flatnonzero(np.asarray(table.parts) == "test")
        for number, picture in enumerate(to_images(table.pixels[rows], table.shape)):
            yield path.with_name(f"{path.name}[test {number}]"), picture


def _widths(classifier: Classifier, paths: list[Path], answers: list[str]) -> tuple[int, int]:
    """Return the column widths for pictures and for predictions, based on the first predictions."""
    names = max((len(printable(path)) for path in paths), default=0)
    widest = max(map(len, (*classifier.full_names, *answers)))
    return max(len("picture"), min(names, WIDEST_NAME)), widest


def _show(path: Path, prediction: Prediction, options: argparse.Namespace, widths: tuple[int, int]) -> None:
    if options.json:
        print(json.dumps({"image": str(path), **prediction.to_dict(options.top)}))
        return
    from skinmnist.inference.classifier import SYNTHETIC_WARNING

    top = ", ".join(f"{label} {share:.1%}" for label, share in prediction.top(options.top))
    print(f"{printable(path):<{widths[0]}}  {prediction.answer:<{widths[1]}}  {top}")
    for warning in prediction.warnings:
        if warning != SYNTHETIC_WARNING:  # It applies to all pictures, and is printed once below them.
            print(f"    warning: {warning}")


def _explain(classifier: Classifier, path: Path, prediction: Prediction) -> Path | None:
    """Write the explanation of a picture next to it; return its path, or None if that failed."""
    from skinmnist.datasets.files import check_replaceable, write_atomically
    from skinmnist.errors import InputError
    from skinmnist.inference.prediction import is_explanation

    # A name that no other picture has.
    target = path.with_name(f"{path.name}{_EXPLAINED}")
    try:
        check_replaceable(target, is_explanation)
        write_atomically(target, classifier.explain_picture(prediction.pixels))
    except InputError as error:
        _complain(str(error))
        return None
    except OSError as error:
        _complain(f"{target} cannot be written ({error.strerror}); copy the picture to a folder that can be")
        return None
    return target


def _complain(text: str) -> None:
    say(f"skinmnist: {text}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
