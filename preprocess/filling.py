"""A store that is being filled: one process at a time, with the tables of skipped files and notes beside it."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datasets.store import Header, StoreError, StoreWriter, stated
from datasets.store_files import open_lock
from datasets.text import printable
from preprocess.build_report import BuildReport
from preprocess.cluster import ClusterError
from preprocess.files import Candidate
from preprocess.ledger import Ledger
from preprocess.sources import MISSING
from preprocess.worker import Done


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """The only process that fills a store; the others wait for it."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(store / ".build.lock")
    except OSError as error:
        raise StoreError(f"the store {store} cannot be opened for writing: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{printable(store)}: another process is filling it; waiting", file=sys.stderr, flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def opened(store: Path, header: Header, max_seconds: float | None) -> Iterator[tuple[StoreWriter, Ledger]]:
    """The store and its tables, which know of a track before it is committed: a killed run does it once, and whole.

    Raises:
        StoreError: The store holds something else, or other parts of tracks.
    """
    with alone(store):
        ledger = Ledger(store)
        with StoreWriter(store, header, before_commit=lambda: save(ledger.save_kept, store)) as writer:
            _check_same_length(writer, max_seconds)
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


def enter(done: Done, writer: StoreWriter, ledger: Ledger, report: BuildReport) -> None:
    """What a worker did: tracks go into the index, reasons into the ledger.

    Raises:
        StoreError: The store took no more.
        ClusterError: A worker does not see a file that is there.
    """
    kept = [one for one in done.attempts if not one.reason]
    remember(ledger, [one.file for one in kept], report.store)
    for one in done.attempts:
        report.decoded += 1
        if one.reason == MISSING and one.file.bytes >= 0 and one.file.path.exists():
            raise ClusterError(
                f"{one.file.path}: the worker on {done.host} does not see this file; the folder of audio must have the "
                "same path on every machine of a cluster"
            )
        if one.reason:
            ledger.skip(one.file, one.reason)
            continue
        ledger.keep(one.file, one.notes)
        report.seconds += one.seconds
        report.written += 1
    writer.adopt(done.rows)
    save(ledger.save_in_time, report.store)
    if done.failure:
        raise StoreError(done.failure)


def remember(ledger: Ledger, files: Sequence[Candidate], store: Path) -> None:
    """Note which files tracks are made from.

    Raises:
        StoreError: The table cannot be written.
    """
    try:
        ledger.remember(files)
    except OSError as error:
        raise StoreError(f"{store}: the table of source files cannot be written ({error.strerror})") from error


def save(write: Callable[[], None], store: Path) -> None:
    """Write tables of a ledger.

    Raises:
        StoreError: They cannot be written.
    """
    try:
        write()
    except OSError as error:
        raise StoreError(f"{store}: the table of skipped files cannot be written ({error.strerror})") from error
