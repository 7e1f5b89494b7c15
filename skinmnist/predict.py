"""``python -m skinmnist.predict``: classify pictures with a model that was kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from skinmnist import facts
from skinmnist.console.common import FAILED_PICTURES, guarded, say
from skinmnist.text import printable

if TYPE_CHECKING:
    from skinmnist.errors import InputError
    from skinmnist.inference.classifier import Classifier
    from skinmnist.inference.predicted import Prediction

#: Pictures that are answered before the first of them is shown.
SHOWN_TOGETHER = 64
#: Signs of a picture's name beyond which columns no longer stand under each other.
WIDEST_NAME = 60


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this door's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m skinmnist.predict",
        description="Classify pictures with a model that `python -m skinmnist.train` has written.",
        epilog=f"Exit code 0: every picture was answered; 1: some were not; 2: bad usage. {facts.DISCLAIMER}",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file (.skm)")
    add(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="pictures, folders of pictures, or patterns such as '*.jpg'",
    )
    add("--json", action="store_true", help="print one JSON object a line instead of a table")
    add("--top", metavar="K", type=int, default=3, help="how many classes to show (default: 3)")
    add(
        "--explain",
        action="store_true",
        help="write <image>-explained.png, as in a.jpg-explained.png, beside each picture: "
        "red speaks for the answer, blue against it",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _predict(options))


def _predict(options: argparse.Namespace) -> int:
    from skinmnist.errors import InputError
    from skinmnist.inference.classifier import load_classifier
    from skinmnist.inference.listing import find_pictures

    if options.top < 1:
        raise InputError(f"received --top {options.top}; expected at least 1")
    classifier = load_classifier(options.model)
    paths, failed = find_pictures(options.images)
    for complaint in failed:
        _complain(complaint)
    n_failed = len(failed)
    widths = _widths(classifier, paths)
    headed = options.json
    for path, found in _answers(classifier, paths):
        if isinstance(found, InputError):
            _complain(str(found))
            n_failed += 1
            continue
        if not headed:
            print(f"{'picture':<{widths[0]}}  {'answer':<{widths[1]}}  probabilities")
            headed = True
        _show(path, found, options, widths)
        if options.explain and not _explain(classifier, path, found):
            n_failed += 1
    if not options.json:
        print(facts.DISCLAIMER)
    return FAILED_PICTURES if n_failed else 0


def _answers(classifier: Classifier, paths: list[Path]) -> Iterator[tuple[Path, Prediction | InputError]]:
    for start in range(0, len(paths), SHOWN_TOGETHER):
        part = paths[start : start + SHOWN_TOGETHER]
        yield from zip(part, classifier.classify_many(part), strict=True)


def _widths(classifier: Classifier, paths: list[Path]) -> tuple[int, int]:
    """Return how wide the columns of pictures and of answers are."""
    names = max((len(printable(path)) for path in paths), default=0)
    return max(len("picture"), min(names, WIDEST_NAME)), max(map(len, classifier.full_names))


def _show(path: Path, prediction: Prediction, options: argparse.Namespace, widths: tuple[int, int]) -> None:
    if options.json:
        print(json.dumps({"image": str(path), **prediction.to_dict(options.top)}))
        return
    top = ", ".join(f"{label} {share:.1%}" for label, share in prediction.top(options.top))
    print(f"{printable(path):<{widths[0]}}  {prediction.name:<{widths[1]}}  {top}")
    for warning in prediction.warnings:
        print(f"    warning: {warning}")


def _explain(classifier: Classifier, path: Path, prediction: Prediction) -> bool:
    """Write the map of a picture beside it; tell whether that went well."""
    from skinmnist.datasets.files import check_replaceable, write_atomically
    from skinmnist.errors import InputError
    from skinmnist.inference.listing import explained_name
    from skinmnist.inference.occlusion import is_explanation

    target = explained_name(path)
    try:
        check_replaceable(target, is_explanation)
        write_atomically(target, classifier.explain_picture(prediction.pixels))
    except InputError as error:
        _complain(str(error))
        return False
    except OSError as error:
        _complain(f"{target} cannot be written ({error.strerror}); copy the picture to a folder that can be")
        return False
    return True


def _complain(text: str) -> None:
    say(f"skinmnist: {text}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
