"""What launched this process, and beside how many others: torchrun, SLURM's srun, or nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from experiments.errors import UserError

RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
SPECIAL_STEPS = 0xFFFFFFF0  # SLURM's numbers of the batch script, an interactive shell and the like begin here
GLOBAL_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "JSM_NAMESPACE_RANK")
NODE_RANKS = ("NODE_RANK", "GROUP_RANK")
LOCAL_RANK = "LOCAL_RANK"
FOREIGN = {"OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpirun", "JSM_NAMESPACE_SIZE": "jsrun"}


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
