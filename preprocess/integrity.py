"""What is wrong with recordings that could be decoded; that they sound is known then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import soundfile

from datasets.corpora import Definition, Item, integrity
from datasets.store import Store


def check(
    definition: Definition, items: Sequence[Item], files: Mapping[str, Path], absent: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """Look at stored recordings, and leave the verdict on every recording in the folder of the store.

    Args:
        definition: The corpus.
        items: All recordings, those too that no split has.
        files: Of the recordings that are there, by id.
        absent: Recordings that are not stored, and why.
        folder: Of the store.

    Returns:
        All that cannot be used, and why.
    """
    stored = [identity for identity in files if identity not in absent]
    refused = {**absent, **too_short(Store(folder), stored, definition.least_seconds or 0.0)}
    odd = other_rates(files, definition.sample_rate) if definition.sample_rate else {}
    integrity.write(folder, integrity.verdicts(items, refused, odd))
    return refused


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
