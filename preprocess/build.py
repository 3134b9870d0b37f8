"""A folder of audio to a store: in parallel, resumable, with every file that gave no track accounted for.

The main process finds the files and keeps the index of the store; workers decode, transform, and write the tracks
into shards of their own. They are processes of this machine (or what else the caller chose with
`joblib.parallel_config`), or the workers of a Dask cluster whose machines see both folders under the same paths.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from joblib import delayed

from datasets import crashes
from datasets.progress import progress as bar
from datasets.store import StoreWriter
from datasets.store_filling import Filler
from datasets.workers import workers
from models.frontends import FrontEnd
from preprocess import compiled
from preprocess.build_report import BuildReport, common_reasons
from preprocess.cluster import Cluster
from preprocess.files import AudioFiles, Candidate, choose, clip_id, find, named
from preprocess.filling import enter, opened, remember, save
from preprocess.groups import groups, processes, total_bytes
from preprocess.ledger import Ledger
from preprocess.recipes import store_header
from preprocess.sources import AudioError
from preprocess.summaries import SUMMARIES
from preprocess.worker import Work, attempt_all


@dataclass(frozen=True)
class _Workers:
    """Who computes: processes of this machine, or a cluster; and whether a bar is shown."""

    jobs: int
    cluster: Cluster | None
    progress: bool


def build_store(
    audio_dir: str | Path,
    store_dir: str | Path,
    frontend: str | FrontEnd = "musicnn",
    jobs: int = -1,
    ids: Sequence[str] | Mapping[str, Path] | None = None,
    progress: bool = True,
    max_seconds: float | None = None,
    retry: bool = False,
    clip_seconds: float | None = None,
    cluster: Cluster | None = None,
) -> BuildReport:
    """Store the features, or the audio, of every audio file in a folder that the store does not hold yet.

    Killed at any moment, the same call goes on behind the last commit, so that some seconds of every worker's work are
    done again. A file that was skipped is skipped again until it changes; one that changed after its track was
    stored is reported, and the store keeps the track as it is. Of several processes that are given the same store one
    computes, the others wait and find everything there. Memory: a worker takes 36 kB a second of the track it works on,
    the main process about 2 kB a file.

    Args:
        audio_dir: Folder of audio files, searched with its sub-folders.
        store_dir: The store; made, or added to.
        frontend: A front end, or its name in `models.frontends`; `audio_RATE`, as `audio_16000`, for samples at that
            rate in place of features, in 16 bits, and `audio_RATE_float32` for unrounded ones; or a name in
            `preprocess.summaries.SUMMARIES` for one row a track.
        jobs: Workers; -1 for one a core. Fewer are started where there is little to do.
        ids: Only these tracks (paths below `audio_dir`, or any ids and the path of each); None takes every audio file.
        progress: Show a bar with the time left on standard error.
        max_seconds: Keep the middle of longer tracks.
        retry: Try files again that were skipped before.
        clip_seconds: Cut files into clips of this length, tracks with `-0`, ... behind the id; files are counted.
        cluster: Whose workers compute, in place of processes of this machine.

    Raises:
        AudioError: No such folder, no audio in it, no file in it that could be used, or a worker was killed.
        ClusterError: The cluster is gone, or its workers cannot do this.
        StoreError: The store holds something else or other parts of tracks, or the disk is full; what was done is kept.
        ValueError: Unknown front end, 0 jobs, or a `max_seconds` that is not above 0.
    """
    if jobs == 0:
        raise ValueError("jobs=0: give the number of workers, or -1 for one a core")
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds={max_seconds}: give a length above 0 s, or none to keep whole tracks")
    header, report = store_header(frontend, max_seconds), BuildReport(Path(store_dir))
    found = _found(Path(audio_dir), ids, absolute=cluster is not None)
    report.ignored, report.passed_over = found.others, found.passed_over
    with opened(report.store, header, max_seconds) as (writer, ledger):
        if ids is None:
            ledger.list_folders(found)
        todo = _todo(found.files, clip_seconds, retry, writer, ledger, report)
        if todo and frontend in SUMMARIES and not cluster:
            compiled.prepare(frontend)
        work = Work(frontend, max_seconds, clip_seconds, Filler.of(writer), os.getpid())
        try:
            _retried(lambda: _run(todo, work, _Workers(jobs, cluster, progress), writer, ledger, report), frontend)
        except BrokenProcessPool as error:
            raise AudioError(audio_dir, crashes.explain(error)) from error
        finally:
            save(ledger.save, report.store)
        _list_exceptions(found, clip_seconds, writer, ledger, report)
    if found.files and not report.written and not report.already:
        reasons = ", ".join(f"{count} {reason}" for reason, count in common_reasons(report))
        raise AudioError(
            audio_dir, f"none of {len(found.files)} files could be used ({reasons}): see {ledger.skipped_path}"
        )
    return report


def _found(audio_dir: Path, ids: Sequence[str] | Mapping[str, Path] | None, absolute: bool) -> AudioFiles:
    """The files that are wanted; `absolute` makes their paths independent of where a worker was started."""
    audio_dir = audio_dir.absolute() if absolute else audio_dir
    if ids is None:
        return find(audio_dir)
    if isinstance(ids, Mapping):
        return AudioFiles(named({id: path.absolute() if absolute else path for id, path in ids.items()}))
    return AudioFiles(choose(audio_dir, ids))


def _todo(
    files: Sequence[Candidate],
    clip_seconds: float | None,
    retry: bool,
    writer: StoreWriter,
    ledger: Ledger,
    report: BuildReport,
) -> list[Candidate]:
    """Files that have to be decoded; those that are stored are counted, and reported where they changed."""
    stored = [file for file in files if _first(file, clip_seconds) in writer.done]
    report.already = len(stored)
    report.changed = [file.id for file in stored if ledger.changed(file)]
    remember(ledger, [file for file in stored if file.id not in ledger.sources], report.store)
    new = (file for file in files if _first(file, clip_seconds) not in writer.done)
    return [file for file in new if retry or not ledger.settled(file)]


def _list_exceptions(
    found: AudioFiles, clip_seconds: float | None, writer: StoreWriter, ledger: Ledger, report: BuildReport
) -> None:
    """Enter into the report what was skipped, and what there is to note."""
    skipped = [file.id for file in found.files if _first(file, clip_seconds) not in writer.done] + list(found.unlisted)
    report.skipped = [(id, ledger.skipped[id].reason) for id in skipped if id in ledger.skipped]
    report.noted = [(file.id, ledger.noted[file.id].note) for file in found.files if file.id in ledger.noted]


def _retried(run: Callable[[], None], frontend: str | FrontEnd) -> None:
    """Run; after a crash in librosa's compiled functions once more, with a fresh cache of them."""
    try:
        run()
    except BrokenProcessPool as error:
        if frontend not in SUMMARIES or not crashes.crashed(error):
            raise
        print(f"{frontend}: compiled code crashed; once more with a fresh cache of it", file=sys.stderr, flush=True)
        compiled.discard()
        compiled.prepare(frontend)
        run()


def _run(
    todo: Sequence[Candidate],
    work: Work,
    by: _Workers,
    writer: StoreWriter,
    ledger: Ledger,
    report: BuildReport,
) -> None:
    """Attempt the files that are not stored yet, group by group, and enter each into the store or the ledger."""
    files = [file for file in todo if _first(file, work.clip_seconds) not in writer.done]
    if not files:
        return
    count = by.cluster.threads() if by.cluster else processes(files, work.frontend, by.jobs)
    weight = total_bytes(files)  # bytes foretell the time left better than files of all lengths do
    with warnings.catch_warnings(), bar("decoding", len(files), "files", weight=weight, show=by.progress) as advance:
        warnings.filterwarnings("ignore", "[0-9]+ tasks which were", UserWarning)  # cancelled when the disk is full
        if by.cluster:
            outcomes = by.cluster.unordered(attempt_all, ((group, work) for group in groups(files, count)))
        else:
            parallel = workers(count, return_as="generator_unordered", batch_size=1)
            outcomes = parallel(delayed(attempt_all)(group, work) for group in groups(files, count))
        with closing(outcomes):
            for done in outcomes:
                enter(done, writer, ledger, report)
                advance(len(done.attempts), total_bytes([one.file for one in done.attempts]))


def _first(file: Candidate, clip_seconds: float | None) -> str:
    """The track whose presence tells that all of a file's are there."""
    return file.id if clip_seconds is None else clip_id(file.id, 0)
