"""Picture files with a few bytes changed: each is opened, or refused in one sentence.

    python experiments/benchmarks/mutated_pictures.py [count] [seed]

20,000 by default. The files that are changed are the golden pictures of the tests. Prints how many were
opened and refused, and the slowest; anything but `InputError` ends it with the file in ``mutated.bin``.
"""

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "datasets"))

from mutations import mutated_files

from skinmnist.datasets.images.pictures import open_picture
from skinmnist.errors import InputError

#: How refusals are told apart.
KINDS = ("damaged", "no whole", "pixels", "scans", "compressed")


def main(count, seed):
    found, slowest = Counter(), (0.0, "")
    start = time.perf_counter()
    for name, content in mutated_files(count, seed):
        began = time.process_time()
        try:
            found["opened as " + open_picture(content).mode] += 1
        except InputError as error:
            found[next((kind for kind in KINDS if kind in str(error)), str(error))] += 1
        except BaseException:
            Path("mutated.bin").write_bytes(content)
            raise
        slowest = max(slowest, (time.process_time() - began, name))
    print(f"{sum(found.values()):,} files in {time.perf_counter() - start:.0f} s; the slowest took "
          f"{slowest[0]:.2f} core-seconds ({slowest[1]})")  # fmt: skip
    for outcome, number in found.most_common():
        print(f"{number:7,} {outcome}")


if __name__ == "__main__":
    main(*(int(argument) for argument in [*sys.argv[1:], *("20000", "0")[len(sys.argv) - 1 :]]))
