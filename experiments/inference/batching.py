"""Windows of many stored tracks in batches through a network, and the tracks put together again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datasets.store import Header, Reader, Store
from datasets.windows import is_short
from experiments.windowing import Windowing
from models.running import OpenTrack, Runner, in_batches


@dataclass(frozen=True)
class Output:
    """One array per window that goes to a store of its own.

    Attributes:
        folder: Of the store.
        header: Kind, shape and producer.
    """

    folder: Path
    header: Header


@dataclass
class ExtractionReport:
    """What an extraction did: tracks stored now, stored before, and skipped with the reason.

    `short` are those seen now whose only window is padded because they have less than nine tenths of one.
    """

    written: int = 0
    already: int = 0
    short: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What is to be known to extract any track.

    Attributes:
        features: Reader of tracks, features or audio.
        windowing: How they are cut.
        run_batch: Stored windows to arrays `[windows, *item_shape]` float16, one for each output. It is sent to the
            workers of a cluster, once to each.
        outputs: What is stored, and where.
        batch_size: Windows at once.
    """

    features: Reader
    windowing: Windowing
    run_batch: Runner
    outputs: Sequence[Output]
    batch_size: int = 16

    def starts(self, identity: str) -> list[int]:
        """First rows of the windows of a track."""
        return self.windowing.plan.starts(self.features.length(identity))


def tracks_through(job: Job, ids: Iterable[str], report: ExtractionReport) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Finished tracks: the id and, for every output, `[windows, *item_shape]`."""
    for track in in_batches(_opened(job, ids, report), job.run_batch, job.batch_size):
        arrays = [np.stack(values) for values in zip(*track.outputs, strict=True)]
        if all(np.isfinite(array).all() for array in arrays):
            yield track.name, arrays
        else:
            report.skipped.append((track.name, "the network gave values that are not finite as float16"))


def _opened(job: Job, ids: Iterable[str], report: ExtractionReport) -> Iterator[OpenTrack]:
    """Tracks with their windows; what cannot be read goes to the report."""
    features, rows = job.features, job.windowing.rows
    for identity in ids:
        try:
            starts = job.starts(identity)
            windows = [features.read_crop(identity, start, rows) for start in starts]
        except (OSError, ValueError) as error:
            report.skipped.append((identity, str(error)))
            continue
        report.short += is_short(features.length(identity), rows)
        yield OpenTrack(identity, np.array(starts), windows)


def origin(features: Reader, identity: str) -> dict[str, Any]:
    """What a store tells of a track; a folder of per-track files does not."""
    if not isinstance(features, Store):
        return {}
    row = features.row(identity)
    return {name: row[name] for name in ("source", "duration", "checksum", "audio_checksum")}
