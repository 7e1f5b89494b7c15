"""Readers under Atheris, which looks for inputs that reach new code.

``python tests/atheris_readers.py READER``: table, metadata, preset, run, model or picture. Atheris is no
dependency of the project: ``pip install atheris`` first. Options of libFuzzer follow the reader's name, such
as ``-max_total_time=300``. What it finds becomes an example in the ``test_fuzz*.py`` of the reader's layer.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

HERE = Path(__file__).parent
FOLDERS = [HERE.parent, HERE, HERE / "datasets", HERE / "experiment", HERE / "inference"]
sys.path[:0] = map(str, FOLDERS)

#: Looks at one content, and raises where its reader does not do what it should.
Check = Callable[[bytes], object]


def table(folder: Path) -> tuple[Check, Iterable[bytes]]:
    import test_fuzz

    return lambda content: test_fuzz.check_table(content, folder / "table.csv"), [test_fuzz.TABLE]


def metadata(folder: Path) -> tuple[Check, Iterable[bytes]]:
    import test_fuzz

    return lambda content: test_fuzz.check_metadata(content, folder / "metadata.csv"), [test_fuzz.METADATA]


def preset(folder: Path) -> tuple[Check, Iterable[bytes]]:
    import test_fuzz_presets

    shipped = [path.read_bytes() for path in (HERE.parent / "experiments").glob("*.toml")]
    whole = test_fuzz_presets.written(test_fuzz_presets.WHOLE)
    return lambda content: test_fuzz_presets.check(content, folder / "preset.toml"), [whole, *shipped]


def run(folder: Path) -> tuple[Check, Iterable[bytes]]:
    import test_fuzz_run

    from skinmnist import make_lesions, run_comparison

    run_comparison(make_lesions(360, size=8, random_state=1), "none", "dummy", folds=2, jobs=1, out=folder)

    def check(content: bytes) -> bool:
        (folder / "run.json").write_bytes(content)
        return test_fuzz_run.check(folder)

    return check, [(folder / "run.json").read_bytes()]


def model(folder: Path) -> tuple[Check, Iterable[bytes]]:
    """Look at whole files, and at manifests among the members of an honest file."""
    import test_fuzz_models

    from skinmnist import make_lesions
    from skinmnist.datasets.decoding import decode_members
    from skinmnist.experiment.train_model import train_model
    from skinmnist.inference.manifest import MANIFEST
    from skinmnist.inference.model_file import pack

    whole = train_model(make_lesions(220, size=8, random_state=1), "logistic_regression").content
    members = decode_members(whole)
    manifest = members.pop(MANIFEST)

    def check(content: bytes) -> bool:
        if not content.startswith(b"PK"):
            content = pack({MANIFEST: content, **members})
        return test_fuzz_models.check_model(content, folder / "model.skm")

    return check, [whole, manifest]


def picture(folder: Path) -> tuple[Check, Iterable[bytes]]:
    import test_fuzz_pictures

    return test_fuzz_pictures.check_picture, test_fuzz_pictures.FILES.values()


READERS = {
    "table": table,
    "metadata": metadata,
    "preset": preset,
    "run": run,
    "model": model,
    "picture": picture,
}


def main() -> None:
    name, *options = sys.argv[1:]
    with (
        tempfile.TemporaryDirectory() as folder,
        atheris.instrument_imports(include=["skinmnist", "tomllib"]),
    ):
        # A file where the cache folder should be: nothing is cached, every content is parsed.
        (Path(folder) / "no-folder").write_bytes(b"")
        os.environ["SKINMNIST_CACHE"] = str(Path(folder) / "no-folder" / "cache")
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        check, seeds = READERS[name](Path(folder))
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)

        def one(content: bytes) -> None:
            check(content)

        atheris.Setup([sys.argv[0], str(corpus), *options], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
