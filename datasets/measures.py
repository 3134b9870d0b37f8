"""What stored features show without knowing what they are of: their distribution, and which are the same."""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.store import Reader, Store

VALUES = 2**16  # that a float16 can have
PROBED = 32  # rows


@dataclass(frozen=True)
class Distribution:
    """Of all values of some tracks taken together.

    Attributes:
        count: Of values.
        mean: Their mean.
        deviation: Square root of their mean squared distance from that mean, over all values at once: not the average
            of deviations within tracks or batches, which misses how these differ.
    """

    count: int
    mean: float
    deviation: float


def distribution(reader: Reader, ids: Iterable[str], advance: Callable[[], None] = lambda: None) -> Distribution:
    """Measure stored values, read as float16, exactly: each of the 65,536 values they can have is counted.

    Args:
        reader: Of the features.
        ids: Stored tracks, one or more; read in the order in which a store holds them, one in memory at a time.
        advance: Called after every track.
    """
    counts = np.zeros(VALUES, dtype=np.int64)
    for identity in _in_stored_order(reader, ids):
        rows = np.ascontiguousarray(reader.read(identity), dtype=np.float16)
        counts += np.bincount(rows.view(np.uint16).ravel(), minlength=VALUES)
        advance()
    present = np.flatnonzero(counts)
    values, counts = present.astype(np.uint16).view(np.float16).astype(np.float64), counts[present]
    total = int(counts.sum())
    mean = float(np.dot(counts, values) / total)
    return Distribution(total, mean, float(np.sqrt(np.dot(counts, (values - mean) ** 2) / total)))


def _in_stored_order(reader: Reader, ids: Iterable[str]) -> list[str]:
    wanted = set(ids)
    if not isinstance(reader, Store):
        return sorted(wanted)
    table = reader.table()
    placed = zip(table["shard"].to_pylist(), table["offset"].to_pylist(), table["id"].to_pylist(), strict=True)
    return [identity for _, _, identity in sorted(row for row in placed if row[2] in wanted)]


def same_features(reader: Reader, ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of tracks whose features are equal to the last bit, each sorted: one recording under several names.

    A store knows a checksum of every track, and only tracks that share one are read.
    """
    ids = sorted(ids)
    alike = _grouped(ids, _hint(reader, ids))
    return [
        same
        for candidates in alike
        for same in _grouped(candidates, lambda one: hashlib.sha256(np.ascontiguousarray(reader.read(one))).digest())
    ]


def _hint(reader: Reader, ids: Sequence[str]) -> Callable[[str], Hashable]:
    """Something quick that equal tracks have in common."""
    if isinstance(reader, Store):
        table = reader.table()
        known = zip(table["id"].to_pylist(), table["length"].to_pylist(), table["checksum"].to_pylist(), strict=True)
        found = {identity: (length, checksum) for identity, length, checksum in known}
        if all(found[identity][1].startswith("crc32:") for identity in ids):
            return found.__getitem__

    def middle(identity: str) -> Hashable:
        length = reader.length(identity)
        start = max(length - PROBED, 0) // 2
        return length, zlib.crc32(np.ascontiguousarray(reader.read(identity, start, min(start + PROBED, length))))

    return middle


def _grouped(ids: Sequence[str], key: Callable[[str], Hashable]) -> list[tuple[str, ...]]:
    """The ids that share a key with another, together."""
    groups: defaultdict[Hashable, list[str]] = defaultdict(list)
    for identity in ids:
        groups[key(identity)].append(identity)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def seconds_of(reader: Reader, ids: Sequence[str], frame_rate: float) -> np.ndarray:
    """Length of tracks, float64 `[tracks]`: of the audio where a store knows it, else of the features."""
    if not isinstance(reader, Store):
        return np.array([reader.length(identity) / frame_rate for identity in ids])
    table = reader.table()
    lengths, durations = table["length"].to_numpy() / frame_rate, table["duration"].to_numpy()
    known = np.where(np.isfinite(durations), durations, lengths)
    place = {identity: number for number, identity in enumerate(reader.ids)}
    return known[[place[identity] for identity in ids]] if len(ids) else np.empty(0)
