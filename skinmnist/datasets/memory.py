"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
from functools import lru_cache


def trim_memory() -> None:
    """Give memory that was freed back to the system, where the C library can: ``malloc_trim`` of glibc.

    By itself it keeps what large arrays and pictures leave behind.
    """
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _c_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library of that name.
        return None
