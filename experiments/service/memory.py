"""Memory that requests have freed is given back to the system when the service is at rest.

The allocator of the C library (glibc) keeps it, in pieces in as many arenas as there are threads, and mixed with what
is in use; so a service would grow for hours, though it holds nothing. `malloc_trim` (3) gives whole pages back.
"""

from __future__ import annotations

import asyncio
import ctypes

from experiments.service.metrics import Counts

REST = 2.0  # seconds without an answer
OFTEN = 30  # times that length, after which a service that is never at rest does so too


async def give_back(counts: Counts) -> None:
    """Give memory back whenever no request was answered for a while, once each time, and now and then else."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    trimmed, before, waited = 0.0, 0.0, 0
    while trim:
        await asyncio.sleep(REST)
        now, waited = counts.summary()["requests"], waited + 1
        if now != trimmed and (now == before or waited >= OFTEN):
            await asyncio.to_thread(trim, 0)
            trimmed, waited = now, 0
        before = now
