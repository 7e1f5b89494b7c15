"""Readers under Atheris, which looks for inputs that reach new code.

``python tests/atheris_readers.py table``, or ``metadata``. Atheris is no dependency of the project:
``pip install atheris`` first. Options of libFuzzer follow the reader's name, such as
``-max_total_time=300``. What it finds becomes an example in ``test_fuzz.py``.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "datasets")]
with atheris.instrument_imports(include=["skinmnist.datasets"]):
    import test_fuzz

READERS = {
    "table": (test_fuzz.check_table, test_fuzz.TABLE),
    "metadata": (test_fuzz.check_metadata, test_fuzz.METADATA),
}


def main() -> None:
    name, *options = sys.argv[1:]
    check, seed = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        # A file where the cache folder should be: nothing is cached, every content is parsed.
        (Path(folder) / "no-folder").write_bytes(b"")
        os.environ["SKINMNIST_CACHE"] = str(Path(folder) / "no-folder" / "cache")
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        (corpus / "seed").write_bytes(seed)
        path = Path(folder) / f"{name}.csv"

        def one(content: bytes) -> None:
            check(content, path)

        atheris.Setup([sys.argv[0], str(corpus), *options], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
