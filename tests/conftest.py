"""What tests share: a small table, and where the real tables are."""

import os
from pathlib import Path

# As in the workers, and before a library starts its threads: they get into each other's way on so few rows.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import pytest

from skinmnist import make_lesions
from skinmnist.datasets.table import PixelTable


@pytest.fixture(scope="session")
def lesions() -> PixelTable:
    """360 small pictures of seven classes, each with at least five lesions."""
    return make_lesions(360, size=8, random_state=1)


@pytest.fixture(scope="session")
def real_tables() -> Path:
    """The folder of the real tables; the test is skipped where there is none."""
    root = Path(__file__).parent.parent
    folder = Path(os.environ.get("SKINMNIST_DATA") or root.parent / "shared" / "data")
    if not (folder / "hmnist_8_8_RGB.csv").is_file():
        pytest.skip("the real tables are not here: set SKINMNIST_DATA to a folder that holds them")
    return folder
