"""An extraction on the workers of a Dask cluster: they compute and fill shards, this process keeps the indices."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from datasets.store import Reader, StoreError, StoreWriter
from datasets.store_filling import Filler
from experiments.inference.batching import ExtractionReport, Job, origin, tracks_through
from preprocess.cluster import Cluster

BATCHES, GROUPS = 8, 4  # of windows in a group of tracks; groups that a thread of a cluster gets at least


@dataclass(frozen=True)
class SentJob:
    """A job, and leave to store."""

    job: Job
    fillers: Sequence[Filler]


@dataclass
class Group:
    """What became of some tracks: rows of the index of each store, and why one of them took no more."""

    report: ExtractionReport = field(default_factory=ExtractionReport)
    rows: list[list[dict[str, Any]]] = field(default_factory=list)
    failure: str = ""


def extract_by(
    cluster: Cluster,
    job: Job,
    ids: Sequence[str],
    writers: Sequence[StoreWriter],
    report: ExtractionReport,
    advance: Callable[[], None],
) -> None:
    """Extract tracks on the workers of a cluster and enter them into the stores here.

    Args:
        cluster: Whose workers compute.
        job: What they do; sent to each of them once.
        ids: Tracks.
        writers: Of the stores, one an output.
        report: What becomes of the tracks is added to it.
        advance: Called for every track that is through.

    Raises:
        StoreError: A disk is full, or a machine does not see the features or the stores.
        ClusterError: The cluster fails.
    """
    if not ids:
        return
    job = replace(job, features=_everywhere(job.features))
    sent = cluster.share(SentJob(job, [Filler.of(writer) for writer in writers]))
    calls = ((sent, group) for group in _groups(job, ids, cluster.threads()))
    with closing(cluster.unordered(extract_group, calls)) as groups:
        for group in groups:
            for writer, rows in zip(writers, group.rows, strict=True):
                writer.adopt(rows)
            if group.failure:
                raise StoreError(group.failure)
            report.written += group.report.written
            report.short += group.report.short
            report.skipped += group.report.skipped
            for _ in range(group.report.written + len(group.report.skipped)):
                advance()


def extract_group(sent: SentJob, ids: Sequence[str]) -> Group:
    """Extract some tracks in a worker and bring them to the disk of the stores."""
    group, job, given = Group(), sent.job, sent.job.features
    if not given.path.is_dir():
        return Group(
            rows=[[] for _ in job.outputs],
            failure=f"{given.path}: no such folder on {socket.gethostname()}; the features must have the same path on "
            "every machine of a cluster",
        )
    try:
        with ExitStack() as stack:
            fillings = [stack.enter_context(filler.open()) for filler in sent.fillers]
            for identity, arrays in tracks_through(job, ids, group.report):
                for filling, array in zip(fillings, arrays, strict=True):
                    filling.append(identity, array, **origin(given, identity))
                group.report.written += 1
            group.rows = [filling.finish() for filling in fillings]
    except StoreError as error:
        return Group(rows=[[] for _ in job.outputs], failure=str(error))
    return group


def _groups(job: Job, ids: Sequence[str], threads: int) -> Iterator[list[str]]:
    """Tracks in their order, in groups of some batches, small enough to keep all threads busy."""
    most = max(1, len(ids) // (GROUPS * threads))
    group: list[str] = []
    windows = 0
    for identity in ids:
        group.append(identity)
        with suppress(OSError, ValueError):  # whoever reads it will say why not
            windows += len(job.windowing.plan.starts(job.features.length(identity)))
        if windows >= BATCHES * job.batch_size or len(group) == most:
            yield group
            group, windows = [], 0
    if group:
        yield group


def _everywhere(features: Reader) -> Reader:
    """The same features, by a path that does not depend on where a process was started."""
    moved = copy.copy(features)
    moved.path = features.path.absolute()
    return moved
