"""``python -m skinmnist.build``: build a pixel table from a folder of pictures."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from skinmnist import facts
from skinmnist.console.common import command_parser, guarded, program, say
from skinmnist.text import printable, shell_word

if TYPE_CHECKING:
    from skinmnist.console.progress import BuildTerminal
    from skinmnist.datasets.images.building import Built, Target
    from skinmnist.datasets.images.folders import Pictures

CHANNELS = {"RGB": 3, "L": 1}
LONGEST_SIDE = 1024


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "build",
        "Make a pixel table from pictures: from one folder per class, or from any folders and a "
        "metadata file. To resume an interrupted build, run the same command again.",
        (
            "pictures --out table.csv",
            "part_1 part_2 --metadata HAM10000_metadata.csv --size 75x100 --out table.csv",
            "part_1 part_2 --kaggle data",
            "dermamnist.npz --out dermamnist.csv",
        ),
        usage="(FOLDER ... | FILE) (--out CSV | --kaggle DIR) [options]",
        closing=facts.DISCLAIMER,
    )
    add = parser.add_argument
    add(
        "folders",
        metavar="FOLDER",
        nargs="+",
        help="folders of pictures, such as both parts of HAM10000; or one file in another layout, such as "
        "dermamnist.npz",
    )
    out = parser.add_mutually_exclusive_group(required=True)
    out.add_argument(
        "--out", metavar="CSV", help="the table to write; its metadata and class names go beside it"
    )
    out.add_argument(
        "--kaggle",
        metavar="DIR",
        help="write the four tables of the Kaggle collection to this folder: hmnist_{8_8,28_28}_{L,RGB}.csv",
    )
    add(
        "--metadata",
        metavar="CSV",
        help=f"lesion_id, image_id, dx and more, by picture (default: {facts.METADATA_FILE} in a FOLDER, "
        "else one folder per class in every FOLDER)",
    )
    add("--size", metavar="HxW", help="height x width in pixels, such as 75x100 (default: 28x28)")
    add("--mode", choices=tuple(CHANNELS), help="colour or greyscale (default: RGB)")
    add("--jobs", metavar="N", type=int, help="worker processes (default: one per core)")
    add("--skip-bad", action="store_true", help="skip and list pictures that cannot be read")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _build(options))


def _build(options: argparse.Namespace) -> int:
    from skinmnist.console.progress import BuildTerminal
    from skinmnist.datasets.images.building import build_tables
    from skinmnist.datasets.images.folders import list_pictures
    from skinmnist.errors import InputError
    from skinmnist.experiment.execution.machine import available_cores

    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"received {options.jobs} jobs; expected at least 1")
    targets = _targets(options)
    if len(options.folders) == 1 and Path(options.folders[0]).is_file():
        return _export(Path(options.folders[0]), targets, options)
    metadata = Path(options.metadata) if options.metadata else None
    pictures = list_pictures([Path(folder) for folder in options.folders], metadata)
    terminal = BuildTerminal()
    _print_found(pictures, terminal)
    with terminal:
        built = build_tables(
            pictures,
            targets,
            jobs=options.jobs or available_cores(),
            skip_bad=options.skip_bad,
            progress=terminal,
        )
    _print_built(built)
    say(f"to run a comparison on it: {program('compare')} {shell_word(targets[-1].path)}")
    return 0


def _export(source: Path, targets: list[Target], options: argparse.Namespace) -> int:
    """Convert a table from another layout, such as MedMNIST's, to a pixel CSV."""
    from skinmnist.datasets.classes_file import parse_size
    from skinmnist.datasets.images.building import export_table, split_file
    from skinmnist.datasets.layouts import load_table
    from skinmnist.errors import InputError

    for name, value in (
        ("--kaggle", options.kaggle),
        ("--mode", options.mode),
        ("--metadata", options.metadata),
    ):
        if value:
            raise InputError(
                f"received the file {source} and {name}; expected folders of pictures, or one file and --out "
                "only"
            )
    table = load_table(source, size=parse_size(options.size) if options.size else None)
    for note in table.notes:
        say(f"note: {note}")
    _print_built(built := export_table(table, targets[0].path))
    path = shell_word(built.targets[0].path)
    split = "" if table.parts is None else f" --split {shell_word(split_file(built.targets[0].path))}"
    say(f"to run a comparison on it: {program('compare')} {path}{split}")
    return 0


def _print_found(pictures: Pictures, terminal: BuildTerminal) -> None:
    from skinmnist.datasets.images.folders import listed

    terminal.console.print(f"{len(pictures):,} pictures of {len(pictures.class_names)} classes")
    if pictures.without_picture:
        terminal.console.print(
            f"left out: {pictures.without_picture:,} rows of the metadata without a picture"
        )
    for what, paths in (
        ("not a picture by its name", pictures.ignored),
        ("broken links and duplicates", pictures.nowhere),
    ):
        if paths:
            named = printable(f"left out, {what}: {len(paths):,} ({listed(paths)})")
            terminal.console.print(named, markup=False)


def _print_built(built: Built) -> None:
    for path, reason in built.bad:
        say(f"skipped: {path}: {reason}")
    rows = sum(built.rows_per_class.values())
    for target in built.targets:
        say(f"{target.path}: {rows:,} pictures, {' x '.join(map(str, target.shape))}")
    say(", ".join(f"{name} {count:,}" for name, count in built.rows_per_class.items()))


def _targets(options: argparse.Namespace) -> list[Target]:
    """Return the requested output tables, in an existing folder."""
    from skinmnist.datasets.images.building import Target, kaggle_targets
    from skinmnist.errors import InputError

    if options.kaggle:
        if options.size or options.mode:
            raise InputError(
                "received --kaggle with --size or --mode; expected only one of them, for the tables of the "
                "collection have fixed sizes and modes"
            )
        targets = kaggle_targets(Path(options.kaggle))
    else:
        path = Path(options.out)
        if path.suffix.lower() != ".csv" or path.is_dir():
            raise InputError(f"received --out {path}; expected the name of a CSV file, such as table.csv")
        targets = [Target(path, (*_size(options.size or "28x28"), CHANNELS[options.mode or "RGB"]))]
    targets[0].path.parent.mkdir(parents=True, exist_ok=True)
    return targets


def _size(text: str) -> tuple[int, int]:
    from skinmnist.errors import InputError

    sides = re.fullmatch(r"([0-9]{1,4})[xX×]([0-9]{1,4})", text)
    height, width = (int(sides[1]), int(sides[2])) if sides else (0, 0)
    if not (1 <= height <= LONGEST_SIDE and 1 <= width <= LONGEST_SIDE):
        raise InputError(
            f"received --size {text!r}; expected height x width of 1 to {LONGEST_SIDE} pixels each, "
            "such as 75x100"
        )
    return height, width


if __name__ == "__main__":
    raise SystemExit(main())
