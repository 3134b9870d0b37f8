"""Freed memory stays with the process.

The C library gives the end of its heap back to the system whenever enough of it is free, which a step of training does
at its end: the next one gets it back page by page, and every page is filled with zeros first. For small networks that
is a tenth of a step.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST = 32 * 2**20  # bytes: what is larger has pages of its own, which always go back


def keep_freed_memory() -> bool:
    """Keep it from now on; returns whether the C library is one that can: that of GNU."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
