"""What is wrong with recordings that could be decoded; that they sound is known then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile

from datasets.store import Store


def too_short(store: Store, ids: Iterable[str], least_seconds: float) -> dict[str, str]:
    """Stored recordings that are shorter than that, and how long they are."""
    table = store.table()
    seconds = dict(zip(table["id"].to_pylist(), table["duration"].to_pylist(), strict=True))
    lengths = {identity: seconds.get(identity) for identity in ids}
    return {
        identity: f"{length:.2f} s long, shorter than {least_seconds:.2f} s"
        for identity, length in lengths.items()
        if length is not None and length < least_seconds
    }


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
