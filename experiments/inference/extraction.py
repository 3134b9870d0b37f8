"""A trained network over a corpus: stores of embeddings per layer and of logits.

Windows of many tracks share a batch; a track is stored once all its windows are through, so that memory is bounded by
a few batches, and a killed extraction goes on with the tracks that are not stored yet. Several processes that were
launched together share the tracks, each writing into shards of its own of the same stores; so do the workers of a Dask
cluster, group by group, while this process keeps the indices.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from datasets.audio_checksums import tracks_of_other_audio
from datasets.csv_writing import TableWriter
from datasets.progress import progress
from datasets.store import Header, Reader, Store, StoreWriter
from experiments import distributed
from experiments.inference.batching import ExtractionReport, Job, origin, tracks_through
from experiments.inference.extraction_cluster import extract_by
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


def extract(job: Job, ids: Sequence[str], cluster: Cluster | None = None) -> ExtractionReport:
    """Run a network over every window of every track and store what it gives.

    Of several processes each does its share of the tracks that are not stored yet; all of them have to call this with
    the same tracks, and all return what was done together.

    Args:
        job: Tracks, network and stores.
        ids: Tracks.
        cluster: Whose workers compute, in place of this process; they see the features and the stores under the same
            paths.

    Returns:
        What was stored and what was skipped; the latter also stands in `skipped.csv` beside each store.

    Raises:
        StoreError: A store in one of the folders was made otherwise, or the disk is full.
        ClusterError: The cluster fails.
    """
    report = ExtractionReport()
    with ExitStack() as stack:
        writers = [stack.enter_context(StoreWriter(output.folder, output.header)) for output in job.outputs]
        done = set.intersection(*(set(writer.done) for writer in writers))
        todo = [identity for identity in ids if identity not in done]
        report.already = len(ids) - len(todo)
        distributed.barrier()  # all have seen the same tracks as stored, before one stores another
        processes = distributed.world_size()
        mine = todo[distributed.rank() :: processes]
        what = f"extracting, 1 of {processes} processes" if processes > 1 else "extracting"
        with progress(what, len(mine), "tracks") as advance:
            if cluster:
                extract_by(cluster, job, mine, writers, report, advance)
            else:
                for identity, arrays in tracks_through(job, mine, report):
                    for writer, array in zip(writers, arrays, strict=True):
                        if identity not in writer.done:
                            writer.append(identity, array, **origin(job.features, identity))
                    report.written += 1
                    advance()
    report = _together(distributed.gather(report), ids)
    if distributed.rank() == 0:
        for output in job.outputs:
            _list_skipped(output.folder, report.skipped)
    return report


def _together(reports: Sequence[ExtractionReport], ids: Iterable[str]) -> ExtractionReport:
    """What all processes did; tracks skipped in the order of `ids`."""
    reasons = dict(pair for report in reports for pair in report.skipped)
    return ExtractionReport(
        written=sum(report.written for report in reports),
        already=reports[0].already,
        short=sum(report.short for report in reports),
        skipped=[(identity, reasons[identity]) for identity in ids if identity in reasons],
    )


def made_of_other(made: Store, features: Reader, ids: Iterable[str]) -> list[str]:
    """Tracks of a store that have the names of these features, but were made from other audio.

    Where the audio of a track is not known, the checksum of its features tells, if the store was made from features
    of this front end. In a folder of per-track files nothing is known to differ.
    """
    if not isinstance(features, Store):
        return []
    producer = made.header.producer or {}
    same_front_end = "encoder" not in producer and producer.get("frontend") in (None, features.header.fingerprint)
    return tracks_of_other_audio(
        made, features, {identity: identity for identity in ids}, lambda then, now: same_front_end and then != now
    )


def _list_skipped(folder: Path, skipped: Sequence[tuple[str, str]]) -> None:
    aside = folder / "skipped.csv.part"
    with aside.open("w", newline="", encoding="utf-8") as handle:
        writer = TableWriter(handle)
        writer.writerow(["id", "reason"])
        writer.writerows(skipped)
    os.replace(aside, folder / "skipped.csv")
