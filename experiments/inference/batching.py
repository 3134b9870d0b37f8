"""Windows of many tracks in batches through a network, and the tracks put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.clips import window_starts
from datasets.store import Header, Reader, Store
from datasets.windows import is_short

Batch = list[tuple[str, int]]


@dataclass(frozen=True)
class Output:
    """One array per window that goes to a store of its own.

    Attributes:
        folder: Of the store.
        header: Kind, shape and producer.
        pick: From what the network gave for a batch to `[windows, *header.item_shape]`.
    """

    folder: Path
    header: Header
    pick: Callable[[Any], Tensor]


@dataclass
class Report:
    """What an extraction did: tracks stored now, stored before, and left out with the reason.

    `short` are those seen now whose only window is padded because they have less than nine tenths of one.
    """

    written: int = 0
    already: int = 0
    short: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def tracks_through(
    features: Reader,
    ids: Iterable[str],
    frames: int,
    hop: int,
    run_batch: Callable[[Tensor], Any],
    outputs: Sequence[Output],
    batch_size: int,
    report: Report,
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Finished tracks: the id and, for every output, `[windows, *item_shape]`."""
    parts: dict[str, list[list[np.ndarray]]] = {}
    left: dict[str, int] = {}
    for batch, clips in _batches(features, ids, frames, hop, batch_size, left, report):
        given = run_batch(torch.from_numpy(clips))
        picked = [output.pick(given).cpu().to(torch.float16).numpy() for output in outputs]
        for number, (identity, _) in enumerate(batch):
            for kept, values in zip(parts.setdefault(identity, [[] for _ in outputs]), picked, strict=True):
                kept.append(values[number])
            left[identity] -= 1
        for identity in dict.fromkeys(identity for identity, _ in batch if not left[identity]):
            arrays = [np.stack(kept) for kept in parts.pop(identity)]
            del left[identity]
            if all(np.isfinite(array).all() for array in arrays):
                yield identity, arrays
            else:
                report.skipped.append((identity, "the network gave values that are not finite as float16"))


def _batches(
    features: Reader, ids: Iterable[str], frames: int, hop: int, batch_size: int, left: dict[str, int], report: Report
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Full batches of windows; `left` gets the number of windows of every track that is begun."""
    batch: Batch = []
    clips: list[np.ndarray] = []
    for identity in ids:
        try:
            starts = window_starts(features.length(identity), frames, hop)
            cut = [features.read_crop(identity, start, frames) for start in starts]
        except (OSError, ValueError) as error:
            report.skipped.append((identity, str(error)))
            continue
        report.short += is_short(features.length(identity), frames)
        left[identity] = len(starts)
        for start, clip in zip(starts, cut, strict=True):
            batch.append((identity, start))
            clips.append(clip)
            if len(batch) == batch_size:
                yield batch, np.stack(clips)
                batch, clips = [], []
    if batch:
        yield batch, np.stack(clips)


def origin(features: Reader, identity: str) -> dict[str, Any]:
    """What a store tells of a track; a folder of per-track files does not."""
    if not isinstance(features, Store):
        return {}
    row = features.row(identity)
    return {name: row[name] for name in ("source", "duration", "checksum", "audio_checksum")}
