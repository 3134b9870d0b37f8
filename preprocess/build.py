"""A folder of audio to a store of features: in parallel, resumable, with every file that was left out accounted for.

The main process finds the files and keeps the index of the store; workers decode, transform, and write the features
into shards of their own. They are processes of this machine (or what else the caller chose with
`joblib.parallel_config`), or the workers of a Dask cluster whose machines see both folders under the same paths.
"""

from __future__ import annotations

import fcntl
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from joblib import delayed, effective_n_jobs
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from datasets import crashes
from datasets.store import Header, StoreError, StoreWriter, stated
from datasets.store_files import open_lock
from datasets.store_filling import Filler
from datasets.text import printable
from datasets.workers import workers
from models import frontends
from preprocess import compiled
from preprocess.cluster import Cluster, ClusterError
from preprocess.files import Candidate, choose, clip_id, find, named
from preprocess.ledger import Ledger
from preprocess.sources import MISSING, AudioError
from preprocess.summaries import SUMMARIES, header
from preprocess.worker import Done, Work, attempt_all

# Of files that a worker is given at a time; what it makes of them is committed together.
GROUP_TRACKS, GROUP_BYTES = 256, 64 * 2**20
GROUPS = 4  # that every worker gets at least, where there are files enough
# Of audio files: one worker decodes this sooner than another has started.
WORKER_BYTES = 16 * 2**20


@dataclass
class Report:
    """What became of the files.

    Attributes:
        store: Folder of the store.
        written: Tracks added in this run.
        already: Tracks that were in the store before.
        skipped: (id, reason) of files that gave no track, now or in an earlier run.
        changed: Tracks in the store whose file is another one now; the store keeps what it has.
        noted: (id, note) of tracks that hold less than their file promised, or something else than the mean of its
            channels, now or in an earlier run.
        decoded: Files opened in this run.
        seconds: Audio behind the tracks added in this run.
        ignored: Number of files that are not audio, by suffix.
        passed_over: Folders of the system, which were not searched.
    """

    store: Path
    written: int = 0
    already: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    noted: list[tuple[str, str]] = field(default_factory=list)
    decoded: int = 0
    seconds: float = 0.0
    ignored: Counter[str] = field(default_factory=Counter)
    passed_over: list[str] = field(default_factory=list)


def build_store(
    audio_dir: str | Path,
    store_dir: str | Path,
    frontend: str = "musicnn",
    jobs: int = -1,
    ids: Sequence[str] | Mapping[str, Path] | None = None,
    progress: bool = True,
    max_seconds: float | None = None,
    retry: bool = False,
    clip_seconds: float | None = None,
    cluster: Cluster | None = None,
) -> Report:
    """Compute the features of every audio file in a folder that the store does not hold yet.

    Killed at any moment, the same call goes on behind the last commit, so that some seconds of every worker's work are
    done again. A file that was skipped is skipped again until it changes; one that changed after its track was
    stored is reported, and the store keeps the track as it is. Of several processes that are given the same store one
    computes, the others wait and find everything there. Memory: a worker takes 36 kB a second of the track it works on,
    the main process about 2 kB a file.

    Args:
        audio_dir: Folder of audio files, searched with its sub-folders.
        store_dir: The store; made, or added to.
        frontend: Name in `models.frontends`, or in `preprocess.summaries.SUMMARIES` for one row a track.
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
    audio_dir, report = Path(audio_dir), Report(Path(store_dir))
    about = feature_header(frontend, max_seconds)
    if cluster:  # a path that does not depend on where a worker was started
        audio_dir = audio_dir.absolute()
        ids = {id: path.absolute() for id, path in ids.items()} if isinstance(ids, Mapping) else ids
    if ids is None:
        found = find(audio_dir)
        files, report.ignored, report.passed_over = found.files, found.others, found.passed_over
    else:
        files = named(ids) if isinstance(ids, Mapping) else choose(audio_dir, ids)
    with _opened(report.store, about) as (writer, ledger):
        _check_same_length(writer, max_seconds)
        if ids is None:
            ledger.list_folders(found)
        new = [file for file in files if _first(file, clip_seconds) not in writer.done]
        report.already = len(files) - len(new)
        stored = [file for file in files if _first(file, clip_seconds) in writer.done]
        report.changed = [file.id for file in stored if ledger.changed(file)]
        _remember(ledger, [file for file in stored if file.id not in ledger.sources], report.store)
        todo = [file for file in new if retry or not ledger.settled(file)]
        if todo and frontend in SUMMARIES and not cluster:
            compiled.prepare(frontend)
        work = Work(frontend, max_seconds, clip_seconds, Filler.of(writer), os.getpid())

        def run() -> None:
            left = [file for file in todo if _first(file, clip_seconds) not in writer.done]
            _run(left, work, jobs, cluster, progress, writer, ledger, report)

        try:
            _retried(run, frontend)
        except BrokenProcessPool as error:
            raise AudioError(audio_dir, crashes.explain(error)) from error
        finally:
            _save(ledger.save, report.store)
    left_out = [file.id for file in new] + ([] if ids is not None else list(found.unlisted))
    report.skipped = [(id, ledger.skipped[id].reason) for id in left_out if id in ledger.skipped]
    report.noted = [(file.id, ledger.noted[file.id].note) for file in files if file.id in ledger.noted]
    if files and not report.written and not report.already:
        reasons = ", ".join(f"{count} {reason}" for reason, count in common_reasons(report))
        raise AudioError(audio_dir, f"none of {len(files)} files could be used ({reasons}): see {ledger.skipped_path}")
    return report


def feature_header(frontend: str, max_seconds: float | None = None) -> Header:
    """What a store made by a front end or a summary says of itself, and how much of long tracks is in it.

    Raises:
        ValueError: Unknown name; the message lists the known ones.
    """
    if frontend in SUMMARIES:
        about = header(frontend)
    elif frontend in frontends.names():
        made = frontends.build(frontend)
        about = Header("mel", (made.n_bands,), "float16", made.units, made.parameters_dict, made.fingerprint)
    else:
        known = f"{', '.join(frontends.names())}; of whole tracks {', '.join(SUMMARIES)}"
        raise ValueError(f"frontend={frontend!r}: known front ends are {known}")
    if max_seconds is None:
        return about
    return replace(about, producer={**(about.producer or {}), "max_seconds": max_seconds})


def common_reasons(report: Report) -> list[tuple[str, int]]:
    """Kinds of reasons why files were skipped, the commonest first."""
    return Counter(reason.split(":")[0] for _, reason in report.skipped).most_common()


def changed_line(report: Report, elsewhere: str) -> str:
    """What to do about files that changed; `elsewhere` says how another store is given."""
    return (
        f"{len(report.changed)} files have another size or date than when their features were computed, for instance "
        f"{report.changed[0]}: the store keeps the old features; to have new ones give {elsewhere}, and if only the "
        f"dates changed, delete {report.store / 'sources.jsonl'}"
    )


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """The only process that computes features into a store; the others wait for it."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(store / ".build.lock")
    except OSError as error:
        raise StoreError(f"the store {store} cannot be opened for writing: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting = f"{printable(store)}: another process computes its features, waiting until it ends"
            print(waiting, file=sys.stderr, flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _opened(store: Path, about: Header) -> Iterator[tuple[StoreWriter, Ledger]]:
    """The store and its tables, which know of a track before it is committed: a killed run does it once, and whole."""
    with alone(store):
        ledger = Ledger(store)
        with StoreWriter(store, about, before_commit=lambda: _save(ledger.save_kept, store)) as writer:
            yield writer, ledger


def _check_same_length(writer: StoreWriter, max_seconds: float | None) -> None:
    """What is kept of long tracks is no matter of the fingerprint: crops of both are alike."""
    found = stated(writer, "max_seconds", "a number above 0")
    if found != max_seconds:
        kept, wanted = (f"the middle {one:g} s of tracks" if one else "whole tracks" for one in (found, max_seconds))
        raise StoreError(
            f"{writer.path} holds {kept}, {wanted} are asked for: give the same max_seconds "
            "(--max-seconds), or another folder"
        )


def _retried(run: Callable[[], None], frontend: str) -> None:
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
    todo: list[Candidate],
    work: Work,
    jobs: int,
    cluster: Cluster | None,
    progress: bool,
    writer: StoreWriter,
    ledger: Ledger,
    report: Report,
) -> None:
    """Attempt the files group by group and enter each into the store or the ledger."""
    if not todo:
        return
    count = cluster.threads() if cluster else _worth(todo, work.frontend, jobs)
    groups = _groups(todo, count)
    with warnings.catch_warnings(), _bar(todo, progress) as bar:
        warnings.filterwarnings("ignore", "[0-9]+ tasks which were", UserWarning)  # cancelled when the disk is full
        if cluster:
            outcomes = cluster.unordered(attempt_all, ((group, work) for group in groups))
        else:
            parallel = workers(count, return_as="generator_unordered", batch_size=1)
            outcomes = parallel(delayed(attempt_all)(group, work) for group in groups)
        with closing(outcomes):
            for done in outcomes:
                _enter(done, writer, ledger, report)
                bar.update(bar.task_ids[0], advance=_bytes([one.file for one in done.attempts]), done=report.decoded)


def _worth(todo: list[Candidate], frontend: str, jobs: int) -> int:
    """How many processes of this machine are worth their start."""
    worth = min(len(todo), 1 + _bytes(todo) // WORKER_BYTES)
    if frontend in SUMMARIES:
        worth = max(worth, 2)  # two are processes of their own: a crash in compiled code does not end this one
    return min(effective_n_jobs(jobs), worth)


def _first(file: Candidate, clip_seconds: float | None) -> str:
    """The track whose presence tells that all of a file's are there."""
    return file.id if clip_seconds is None else clip_id(file.id, 0)


def _enter(done: Done, writer: StoreWriter, ledger: Ledger, report: Report) -> None:
    """Tracks go into the index, reasons into the ledger.

    Raises:
        StoreError: The store took no more.
        ClusterError: A worker does not see a file that is there.
    """
    kept = [one for one in done.attempts if not one.reason]
    _remember(ledger, [one.file for one in kept], report.store)
    for one in done.attempts:
        report.decoded += 1
        if one.reason == MISSING and one.file.bytes >= 0 and one.file.path.exists():
            raise ClusterError(
                f"{one.file.path}: the worker on {done.host} does not see this file; the folder of audio must have the "
                "same path on every machine of a cluster"
            )
        if one.reason:
            ledger.leave_out(one.file, one.reason)
            continue
        ledger.keep(one.file, one.notes)
        report.seconds += one.seconds
        report.written += 1
    writer.adopt(done.rows)
    _save(ledger.save_in_time, report.store)
    if done.failure:
        raise StoreError(done.failure)


def _groups(todo: list[Candidate], workers: int) -> Iterator[list[Candidate]]:
    """Longest files first, so that the last ones to finish are short, in groups that keep all workers busy."""
    most = min(GROUP_TRACKS, max(1, len(todo) // (GROUPS * workers)))
    heaviest = min(GROUP_BYTES, _bytes(todo) // (GROUPS * workers))
    group: list[Candidate] = []
    for file in sorted(todo, key=lambda file: (-file.bytes, file.id)):
        if group and (len(group) == most or _bytes([*group, file]) > heaviest):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _bytes(files: list[Candidate]) -> int:
    """Of files that may be missing or empty, but still take a moment each."""
    return sum(max(file.bytes, 1) for file in files)


def _bar(todo: list[Candidate], progress: bool) -> Progress:
    """Progress in bytes, which foretells the time left better than files of all lengths do."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]} of {task.fields[all]}"))
    times = (
        TextColumn("tracks,"),
        TimeElapsedColumn(),
        TextColumn("so far,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    bar = Progress(*columns, *times, console=Console(stderr=True), disable=not progress)
    bar.add_task("features", total=_bytes(todo), done=0, all=len(todo))
    return bar


def _remember(ledger: Ledger, files: list[Candidate], store: Path) -> None:
    try:
        ledger.remember(files)
    except OSError as error:
        raise StoreError(f"{store}: the table of source files cannot be written ({error.strerror})") from error


def _save(save: Callable[[], None], store: Path) -> None:
    try:
        save()
    except OSError as error:
        raise StoreError(f"{store}: the table of skipped files cannot be written ({error.strerror})") from error
