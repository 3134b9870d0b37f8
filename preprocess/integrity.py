"""Stored recordings that a corpus is better without: silent ones, and those shorter than what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from datasets.store import Store

PIECE = 2**16  # rows looked at together


def faults(store: Store, ids: Iterable[str], least_seconds: float) -> dict[str, str]:
    """Which recordings cannot be used, and why.

    Args:
        store: Of features or audio.
        ids: Stored recordings.
        least_seconds: How long one must be.
    """
    table = store.table()
    seconds = dict(zip(table["id"].to_pylist(), table["duration"].to_pylist(), strict=True))
    found = {}
    for identity in ids:
        length = seconds.get(identity)
        if length is not None and length < least_seconds:
            found[identity] = f"{length:.2f} s long, shorter than {least_seconds:.2f} s"
        elif _is_constant(store, identity):
            found[identity] = "silent"
    return found


def _is_constant(store: Store, identity: str) -> bool:
    """Whether all rows of a track are equal, as those of silence are."""
    first = store.read(identity, 0, 1)
    length = store.length(identity)
    return all(np.all(store.read(identity, start, start + PIECE) == first) for start in range(0, length, PIECE))


def other_rates(files: Mapping[str, Path], published: int) -> dict[str, str]:
    """Recordings whose files state another sample rate than the published ones have, in Hz."""
    found = {}
    for identity, file in files.items():
        try:
            rate = soundfile.info(file).samplerate
        except (OSError, RuntimeError):  # none that states it
            continue
        if rate != published:
            found[identity] = f"states {rate:,} Hz; published at {published:,} Hz"
    return found
