import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from standing_in import Running


@pytest.fixture(scope="session")
def page():
    """A server of the stand-in."""
    with Running() as running:
        yield running
