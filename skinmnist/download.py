"""``python -m skinmnist.download``: download the tables of the Kaggle collection."""

from __future__ import annotations

import argparse
from pathlib import Path

from skinmnist import facts
from skinmnist.console.common import command_parser, guarded, say


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "download",
        f"Fetch the tables and the metadata of {facts.KAGGLE_HANDLE} from Kaggle or from a "
        "mirror, and put them where `skinmnist compare` finds them. Existing files are kept. To resume an "
        "interrupted download, run the same command again.",
        ("", "--to data", "--mirror archive.zip --sums SHA256SUMS"),
        closing=f"Licence of the data: {facts.DATA_LICENCE}. {facts.DATA_CITATION}",
    )
    add = parser.add_argument
    add(
        "--mirror",
        metavar="URL|PATH",
        help="a folder with the files, and with SHA256SUMS to check them, or a .zip archive, "
        "on the web or on this machine (default: Kaggle, which needs the extra `download`)",
    )
    add("--to", metavar="DIR", help="folder to write to (default: $SKINMNIST_DATA, else data/)")
    add("--sums", metavar="FILE", help="SHA-256 checksums of the files, in the format of sha256sum")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _download(options))


def _download(options: argparse.Namespace) -> int:
    from skinmnist.console.progress import DownloadTerminal
    from skinmnist.datasets.download.collection import default_folder, download, read_sums

    folder = Path(options.to) if options.to else default_folder()
    sums = read_sums(Path(options.sums)) if options.sums else None
    with DownloadTerminal() as terminal:
        done = download(folder, options.mirror, sums=sums, progress_of=terminal.progress_of)
    for name in done.there:
        say(f"already there: {folder / name}")
    for name in done.fetched:
        say(f"fetched: {folder / name}")
    for name in done.missing:
        say(f"not at the mirror: {name}")
    for note in done.notes:
        say(f"*** {note}")
    _check(folder)
    return 0


def _check(folder: Path) -> None:
    """Read every table with its metadata, and print its contents."""
    from skinmnist.datasets.hmnist import load_hmnist
    from skinmnist.errors import InputError

    for name in facts.COLLECTION_TABLES:
        if (folder / name).is_file():
            table = load_hmnist(folder / name)
            if table.image_ids is not None and table.class_names != facts.CLASS_NAMES:
                raise InputError(
                    f"{folder / facts.METADATA_FILE} calls the labels of {name} "
                    f"{', '.join(table.class_names)}; expected {', '.join(facts.CLASS_NAMES)}, as in the "
                    "collection, so download both again"
                )
            lesions = "unknown" if table.n_lesions is None else f"{table.n_lesions:,}"
            say(f"{name}: {len(table):,} pictures of {lesions} lesions; the metadata agrees")
            if tuple(table.class_counts.tolist()) != facts.ROWS_PER_CLASS:
                say(f"*** {name} is incomplete: the collection has {sum(facts.ROWS_PER_CLASS):,} pictures")


if __name__ == "__main__":
    raise SystemExit(main())
