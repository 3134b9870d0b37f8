"""A trained network over a corpus: stores of embeddings per block and of logits.

Windows of many tracks share a batch; a track is stored once all its windows are through, so that memory is bounded by
a few batches, and a killed extraction goes on with the tracks that are not stored yet. Several processes that were
launched together share the tracks, each writing into shards of its own of the same stores; so do the workers of a Dask
cluster, group by group, while this process keeps the indices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from torch import Tensor

from datasets.csv_writing import TableWriter
from datasets.progress import progress
from datasets.store import Header, Reader, Store, StoreWriter
from datasets.store_filling import Filler
from experiments import distributed
from experiments.inference.batching import Output, Report, origin, tracks_through
from experiments.inference.extraction_cluster import Job, extract_by
from models.fingerprint import fingerprint
from preprocess.cluster import Cluster


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
    cluster: Cluster | None = None,
) -> Report:
    """Run a network over every window of every track and store what it gives.

    Of several processes each does its share of the tracks that are not stored yet; all of them have to call this with
    the same tracks, and all return what was done together.

    Args:
        features: Reader of stored log-mels `[frames, bands]`.
        ids: Tracks.
        frames: Length of a window.
        hop: Distance of windows, frames.
        run_batch: Stored clips `[windows, frames, bands]` to whatever the outputs pick from. It is sent to the workers
            of a cluster, once to each.
        outputs: What is stored, and where.
        batch_size: Windows at once.
        cluster: Whose workers compute, in place of this process; they see the features and the stores under the same
            paths.

    Returns:
        What was stored and what was left out; the latter also stands in `skipped.csv` beside each store.

    Raises:
        StoreError: A store in one of the folders was made otherwise, or the disk is full.
        ClusterError: The cluster fails.
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
            if cluster:
                fillers = [Filler.of(writer) for writer in writers]
                job = Job(features, frames, hop, run_batch, outputs, fillers, batch_size)
                extract_by(cluster, job, mine, writers, report, advance)
            else:
                for identity, arrays in tracks_through(
                    features, mine, frames, hop, run_batch, outputs, batch_size, report
                ):
                    for writer, array in zip(writers, arrays, strict=True):
                        if identity not in writer.done:
                            writer.append(identity, array, **origin(features, identity))
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


def _list_skipped(folder: Path, skipped: Sequence[tuple[str, str]]) -> None:
    aside = folder / "skipped.csv.part"
    with aside.open("w", newline="", encoding="utf-8") as handle:
        writer = TableWriter(handle)
        writer.writerow(["id", "reason"])
        writer.writerows(skipped)
    os.replace(aside, folder / "skipped.csv")
