"""Several processes of one command: how they meet and exchange values.

A launcher (`torchrun`, SLURM's `srun`) starts them side by side; `join` brings them together and Lightning finds the
process group made. Where Lightning launches the others itself, the group exists from `Trainer.fit` on. In a single
process everything here is an identity. PyTorch is imported where there is more than one process, and not before.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeVar

from experiments.errors import UserError
from experiments.launcher import Launch, launch, layout, restarted

__all__ = ["Launch", "launch", "layout", "restarted"]  # of the launcher; what else there is here is about talking

T = TypeVar("T")

JOINING = datetime.timedelta(minutes=10)  # until all processes have to be there
ANSWERING = datetime.timedelta(minutes=30)  # between the first and the last process at one exchange
REPORTED_AFTER = 15.0  # seconds of waiting for the others until a line says so
LINGERING = 15.0  # seconds that rank zero gets to finish its record
FAILURE, LEFT = "failure", "left"  # keys: why a rank failed; that rank zero has left

_store: Any = None  # where the processes of a launcher meet


def rank() -> int:
    """Number of this process, from 0."""
    if _joined():
        return sys.modules["torch"].distributed.get_rank()
    found = launch()
    return found.rank if found else 0


def world_size() -> int:
    """Number of processes."""
    if _joined():
        return sys.modules["torch"].distributed.get_world_size()
    found = launch()
    return found.world_size if found else 1


def join() -> None:
    """Meet the processes that a launcher started beside this one: gloo between CPUs, NCCL between GPUs.

    Raises:
        UserError: They are not all there after ten minutes.
    """
    global _store
    found = launch()
    if found is None or _joined():
        return
    import torch
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    where = "env://" if found.launcher == "torchrun" else f"tcp://{found.address}"  # torchrun keeps the meeting point
    try:
        with _reported_when_long(found):
            place, _, _ = next(distributed.rendezvous(where, found.rank, found.world_size, timeout=JOINING))
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the place may be that of the attempt before
            _store = distributed.PrefixStore(f"attempt {attempt}", place)
            distributed.init_process_group(
                backend,
                store=distributed.PrefixStore("group", _store),
                rank=found.rank,
                world_size=found.world_size,
                timeout=ANSWERING,
            )
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{found.world_size} processes of {found.launcher} did not meet at {found.address} ({reason}); "
            "can every node reach it? MASTER_ADDR and MASTER_PORT choose another place"
        ) from error


def leave() -> None:
    """Part from the others; nothing where `join` did nothing."""
    global _store
    if _store is not None:
        if rank() == 0:
            with contextlib.suppress(RuntimeError):
                _store.set(LEFT, "")
        _store = None
        if _joined():
            sys.modules["torch"].distributed.destroy_process_group()


def share(value: T) -> T:
    """Rank zero's value, on every rank; what the others give is ignored."""
    if not _together():
        return value
    values = [value]
    sys.modules["torch"].distributed.broadcast_object_list(values, src=0)
    return values[0]


def gather(value: T) -> list[T]:
    """The values of all ranks in order, on every rank."""
    if not _together():
        return [value]
    values: list[Any] = [None] * world_size()
    sys.modules["torch"].distributed.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Wait until every rank is here."""
    gather(None)


def report_failure(name: str, text: str) -> bool:
    """Tell the other ranks why this one fails; False where another one did so before."""
    if _store is None:
        return True
    try:
        return _store.compare_set(FAILURE, "", json.dumps([name, text])) == json.dumps([name, text]).encode()
    except RuntimeError:  # whoever keeps the meeting point is gone
        return True


def failure() -> tuple[str, str] | None:
    """Name and message of the rank that failed first; None where none has reported."""
    if _store is None:
        return None
    try:
        report = json.loads(_store.get(FAILURE)) if _store.check([FAILURE]) else None
    except RuntimeError:
        return None
    return tuple(report) if report else None


def hang_up() -> None:
    """Close this process's connections, so that whoever waits for it in the middle of a step notices its failure."""
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as line:
                if line.family in (socket.AF_INET, socket.AF_INET6):
                    line.shutdown(socket.SHUT_RDWR)


def linger() -> None:
    """Wait, but not for long, until rank zero has left: launchers kill the others where one process ends in failure."""
    zero, store, deadline = os.getppid(), _store, time.monotonic() + LINGERING
    while time.monotonic() < deadline:
        try:
            if store.check([LEFT]) if store is not None else os.getppid() != zero:
                return
        except RuntimeError:  # the meeting point has gone with rank zero
            return
        time.sleep(0.1)


def _joined() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized()


def _together() -> bool:
    join()
    return _joined()


@contextlib.contextmanager
def _reported_when_long(found: Launch) -> Iterator[None]:
    """Rank zero says what it waits for when that takes long."""

    def say() -> None:
        print(f"waiting for the other processes ({found.world_size} in all, {found.launcher})", file=sys.stderr)

    timer = threading.Timer(REPORTED_AFTER, say)
    timer.daemon = True
    if found.rank == 0:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
