"""A trained network over a corpus: stores of embeddings per block and of logits.

Windows of many tracks share a batch; a track is stored once all its windows are through, so that memory is bounded by
a few batches, and a killed extraction goes on with the tracks that are not stored yet. Several processes that were
launched together share the tracks, each writing into shards of its own of the same stores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

from datasets.clips import window_starts
from datasets.csv_writing import TableWriter
from datasets.store import Header, Reader, Store, StoreWriter
from datasets.windows import is_short
from experiments import distributed
from experiments.progress import progress
from models.fingerprint import fingerprint

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


def header(kind: str, item_shape: Sequence[int], units: str, producer: dict[str, Any]) -> Header:
    """Header of a store that a network fills."""
    return Header(
        kind=kind,
        item_shape=tuple(item_shape),
        dtype="float16",
        units=units,
        producer=producer,
        fingerprint=fingerprint(producer),
    )


def extract(
    features: Reader,
    ids: Sequence[str],
    frames: int,
    hop: int,
    run_batch: Callable[[Tensor], Any],
    outputs: Sequence[Output],
    batch_size: int = 16,
) -> Report:
    """Run a network over every window of every track and store what it gives.

    Of several processes each does its share of the tracks that are not stored yet; all of them have to call this with
    the same tracks, and all return what was done together.

    Args:
        features: Reader of stored log-mels `[frames, bands]`.
        ids: Tracks.
        frames: Length of a window.
        hop: Distance of windows, frames.
        run_batch: Stored clips `[windows, frames, bands]` to whatever the outputs pick from.
        outputs: What is stored, and where.
        batch_size: Windows at once.

    Returns:
        What was stored and what was left out; the latter also stands in `skipped.csv` beside each store.

    Raises:
        StoreError: A store in one of the folders was made otherwise.
    """
    report = Report()
    with ExitStack() as stack:
        writers = [stack.enter_context(StoreWriter(output.folder, output.header)) for output in outputs]
        done = set.intersection(*(set(writer.done) for writer in writers))
        todo = [identity for identity in ids if identity not in done]
        report.already = len(ids) - len(todo)
        distributed.barrier()  # all have seen the same tracks as stored, before one stores another
        processes = distributed.world_size()
        mine = todo[distributed.rank() :: processes]
        what = f"extracting, 1 of {processes} processes" if processes > 1 else "extracting"
        with progress(what, len(mine), "tracks") as advance:
            for identity, arrays in _tracks(features, mine, frames, hop, run_batch, outputs, batch_size, report):
                for writer, array in zip(writers, arrays, strict=True):
                    _store(writer, identity, array, features)
                report.written += 1
                advance()
    report = _together(distributed.gather(report), ids)
    if distributed.rank() == 0:
        for output in outputs:
            _list_skipped(output.folder, report.skipped)
    return report


def _together(reports: Sequence[Report], ids: Iterable[str]) -> Report:
    """What all processes did; tracks left out in the order of `ids`."""
    reasons = dict(pair for report in reports for pair in report.skipped)
    return Report(
        written=sum(report.written for report in reports),
        already=reports[0].already,
        short=sum(report.short for report in reports),
        skipped=[(identity, reasons[identity]) for identity in ids if identity in reasons],
    )


def made_of_other(made: Store, features: Reader, ids: Iterable[str]) -> list[str]:
    """Tracks of a store that have the names of these features, but were made from other ones.

    Checksums tell; where there are none, in a folder of per-track files, nothing is known to differ; nor where
    another encoder made the store, of the audio itself.
    """
    if not isinstance(features, Store) or "encoder" in (made.header.producer or {}):
        return []
    now, then = features.table(), made.table()
    checksums = now["checksum"].take(pc.index_in(then["id"], value_set=now["id"]))
    same = pc.fill_null(pc.equal(then["checksum"], checksums), False)
    other = then["id"].filter(pc.invert(same)).to_pylist()
    wanted = set(ids) if other else set()
    return [identity for identity in other if identity in wanted]


def _store(writer: StoreWriter, identity: str, array: np.ndarray, features: Reader) -> None:
    if identity in writer.done:
        return
    origin = {}
    if isinstance(features, Store):  # a folder of per-track files does not tell
        row = features.row(identity)
        origin = {name: row[name] for name in ("source", "duration", "checksum")}
    writer.append(identity, array, **origin)


def _tracks(
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


def _list_skipped(folder: Path, skipped: Sequence[tuple[str, str]]) -> None:
    aside = folder / "skipped.csv.part"
    with aside.open("w", newline="", encoding="utf-8") as handle:
        writer = TableWriter(handle)
        writer.writerow(["id", "reason"])
        writer.writerows(skipped)
    os.replace(aside, folder / "skipped.csv")
