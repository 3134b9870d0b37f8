"""Several processes of one command: who they are, and how they talk.

A launcher (`torchrun`, SLURM's `srun`) starts them side by side; `join` brings them together and Lightning finds the
process group made. Where Lightning launches the others itself, the group exists from `Trainer.fit` on. In a single
process everything here is an identity. PyTorch is imported where there is more than one process, and not before.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from experiments.errors import UserError

T = TypeVar("T")

JOINING = datetime.timedelta(minutes=10)  # until all processes have to be there
ANSWERING = datetime.timedelta(minutes=30)  # between the first and the last process at one exchange
SAID_AFTER = 15.0  # seconds of waiting for the others until it is said
RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
SPECIAL_STEPS = 0xFFFFFFF0  # SLURM's numbers of the batch script, an interactive shell and the like begin here
FOREIGN = {"OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpirun", "JSM_NAMESPACE_SIZE": "jsrun"}

GLOBAL_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "JSM_NAMESPACE_RANK")
NODE_RANKS = ("NODE_RANK", "GROUP_RANK")
LOCAL_RANK = "LOCAL_RANK"

LINGERING = 15.0  # seconds that rank zero gets to finish its record
FAILURE, LEFT = "failure", "left"  # where a rank leaves its last words, and rank zero that it is gone

_store: Any = None  # where the processes of a launcher meet


@dataclass(frozen=True)
class Launch:
    """What a launcher says about this process.

    Attributes:
        launcher: its name.
        rank: number of this process, from 0, and of how many.
        local_rank: its number on its node.
        node: number of its node, and of how many.
        address: where the processes meet: `host:port`.
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    node: int
    nodes: int
    address: str

    @property
    def per_node(self) -> int:
        """Processes on a node."""
        return self.world_size // self.nodes


def launch(environ: Mapping[str, str] | None = None) -> Launch | None:
    """What launched this process beside others; None for a single process, and for those that Lightning starts.

    Raises:
        UserError: The launcher's variables contradict each other, or the launcher is not one of ours.
    """
    environ = os.environ if environ is None else environ
    found = _torchrun(environ) or _srun(environ)
    if found is None:
        for name, launcher in FOREIGN.items():
            if _number(environ, name, 1) > 1:
                raise UserError(
                    f"{name}={environ[name]}: processes started by {launcher} do not find each other; "
                    "start them with torchrun or srun"
                )
        return None
    if found.world_size == 1:
        return None
    if found.world_size % found.nodes:
        raise UserError(
            f"{found.world_size} processes on {found.nodes} nodes ({found.launcher}): every node needs equally many"
        )
    return found


def _torchrun(environ: Mapping[str, str]) -> Launch | None:
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environ.keys():
        return None
    world_size = _number(environ, "WORLD_SIZE", 1)
    per_node = _number(environ, "LOCAL_WORLD_SIZE", world_size)
    rank = _number(environ, "RANK", 0)
    return Launch(
        "torchrun",
        rank,
        world_size,
        _number(environ, "LOCAL_RANK", rank % per_node),
        _number(environ, "GROUP_RANK", rank // per_node),
        _number(environ, "GROUP_WORLD_SIZE", -(-world_size // per_node)),
        f"{environ['MASTER_ADDR']}:{environ['MASTER_PORT']}",
    )


def _srun(environ: Mapping[str, str]) -> Launch | None:
    """A task of a SLURM step; the batch script itself and an interactive shell are single processes."""
    step = _number(environ, "SLURM_STEP_ID", _number(environ, "SLURM_STEPID", SPECIAL_STEPS))
    if "SLURM_PROCID" not in environ or step >= SPECIAL_STEPS or environ.get("SLURM_JOB_NAME") == "bash":
        return None
    world_size = _number(environ, "SLURM_STEP_NUM_TASKS", _number(environ, "SLURM_NTASKS", 1))
    nodes = _number(environ, "SLURM_STEP_NUM_NODES", _number(environ, "SLURM_NNODES", 1))
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    host = environ.get("MASTER_ADDR") or (_first_host(hosts) if nodes > 1 else "127.0.0.1")
    place = 32 * _number(environ, "SLURM_JOB_ID", 0) + step  # steps of a job may run side by side
    port = _number(environ, "MASTER_PORT", 15_000 + place % 10_000)
    rank = _number(environ, "SLURM_PROCID", 0)
    local, node = _number(environ, "SLURM_LOCALID", rank), _number(environ, "SLURM_NODEID", 0)
    return Launch("srun", rank, world_size, local, node, nodes, f"{host}:{port}")


def _first_host(nodes: str) -> str:
    """`gpu[03-05,9],cpu1` begins with `gpu03`."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes).replace(" ", ",").split(",")[0]


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise UserError(f"{name}={text}: expected a number; which process is this?")
    return int(text)


def _rank(environ: Mapping[str, str], name: str) -> int:
    """Value of a rank variable; 0 if absent or not a number."""
    text = environ.get(name, "").strip()
    return int(text) if text.isdecimal() else 0


def is_global_zero(environ: Mapping[str, str] | None = None) -> bool:
    """Whether this process is the one that keeps the record: every rank variable is absent or 0."""
    environ = os.environ if environ is None else environ
    return not any(_rank(environ, name) for name in (*GLOBAL_RANKS, *NODE_RANKS, LOCAL_RANK))


def label(environ: Mapping[str, str] | None = None) -> str:
    """Name of this rank for file names: `3`, or `1.2` (node, local) where no global rank is known."""
    environ = os.environ if environ is None else environ
    for name in GLOBAL_RANKS:
        if _rank(environ, name):
            return str(_rank(environ, name))
    node = max(_rank(environ, name) for name in NODE_RANKS)
    local = _rank(environ, LOCAL_RANK)
    return f"{node}.{local}" if node else str(local)


def restarted(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the launcher gives this command again by itself: after a failure (torchrun), or requeued (SLURM)."""
    environ = os.environ if environ is None else environ
    return any(_number(environ, name, 0) for name in RESTARTS)


def layout(devices: int | Literal["auto"], num_nodes: int) -> tuple[int, int]:
    """Processes on a node, and nodes: those that a launcher started, else what the settings ask Lightning to start.

    Args:
        devices: `trainer.devices`; 1 and auto follow the launcher, without one auto is a process for each GPU here.
        num_nodes: `trainer.num_nodes`; 1 follows the launcher.

    Raises:
        UserError: The settings ask for others than were started.
    """
    found = launch()
    if found is None:
        return (_gpus() or 1 if devices == "auto" else devices), num_nodes
    if devices not in (1, "auto", found.per_node) or num_nodes not in (1, found.nodes):
        raise UserError(
            f"trainer.devices={devices} and trainer.num_nodes={num_nodes}, but {found.launcher} started "
            f"{found.per_node} processes on each of {found.nodes} nodes; leave these settings out: they follow"
        )
    return found.per_node, found.nodes


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


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
        with _said_when_long(found):
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
    """Rank zero's value, on every rank; what the others give is left aside."""
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
    """Tell the other ranks why this one fails; False where another one had told before."""
    if _store is None:
        return True
    try:
        return _store.compare_set(FAILURE, "", json.dumps([name, text])) == json.dumps([name, text]).encode()
    except RuntimeError:  # whoever keeps the meeting point is gone
        return True


def failure() -> tuple[str, str] | None:
    """Name and message of the rank that failed first; None where none has told."""
    if _store is None:
        return None
    try:
        told = json.loads(_store.get(FAILURE)) if _store.check([FAILURE]) else None
    except RuntimeError:
        return None
    return tuple(told) if told else None


def hang_up() -> None:
    """Close this process's connections, so that whoever waits for it in the middle of a step hears of its failure."""
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
def _said_when_long(found: Launch) -> Iterator[None]:
    """Rank zero says what it waits for when that takes long."""

    def say() -> None:
        print(f"waiting for the other processes ({found.world_size} in all, {found.launcher})", file=sys.stderr)

    timer = threading.Timer(SAID_AFTER, say)
    timer.daemon = True
    if found.rank == 0:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
