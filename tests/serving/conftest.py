import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the page needs the extra 'web'")
pytest.importorskip("uvicorn", reason="the page needs the extra 'web'")
sys.path.insert(0, str(Path(__file__).parent))

from standing_in import Running


@pytest.fixture(scope="session")
def page():
    """A server of the stand-in."""
    with Running() as running:
        yield running
