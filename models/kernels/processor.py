"""What the processor can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

BFLOAT16 = {"avx512_bf16", "amx_bf16", "avx10_2", "bf16"}  # of x86 and of ARM


@cache
def has_bfloat16() -> bool | None:
    """Whether it multiplies bfloat16 in hardware, by the flags that Linux lists; None where nothing lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return None if flags is None else not BFLOAT16.isdisjoint(flags.split())
