"""What all doors share: bad input is one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from skinmnist.errors import InputError

FAILED_CELLS, BAD_INPUT, INTERRUPTED = 1, 2, 130


def guarded(run: Callable[[], int]) -> int:
    """Run a door's work and return its exit code."""
    try:
        return run()
    except InputError as error:
        print(f"skinmnist: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("skinmnist: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"skinmnist: {error.strerror or error}{where}; mend this and try again", file=sys.stderr)
        return BAD_INPUT
