"""Launchers as Lightning knows them."""

from __future__ import annotations

import signal
from typing import Any, Literal

from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy

from experiments.distributed import ANSWERING
from experiments.launcher import Launch, launch, layout


class Launched(ClusterEnvironment):
    """Processes that a launcher started and `experiments.distributed.join` brought together."""

    def __init__(self, found: Launch) -> None:
        self.found = found

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self.found.address.rpartition(":")[0]

    @property
    def main_port(self) -> int:
        return int(self.found.address.rpartition(":")[2])

    @staticmethod
    def detect() -> bool:
        return launch() is not None

    def world_size(self) -> int:
        return self.found.world_size

    def set_world_size(self, size: int) -> None:
        """The launcher has decided."""

    def global_rank(self) -> int:
        return self.found.rank

    def set_global_rank(self, rank: int) -> None:
        """The launcher has decided."""

    def local_rank(self) -> int:
        return self.found.local_rank

    def node_rank(self) -> int:
        return self.found.node


class Tasks(Launched, SLURMEnvironment):
    """The same under SLURM, where Lightning requeues jobs at a signal; any way of asking for tasks will do."""

    def __init__(self, found: Launch) -> None:
        Launched.__init__(self, found)
        self.auto_requeue, self.requeue_signal = True, signal.SIGUSR1

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """`experiments.launcher.layout` has."""


def parallel(devices: int | Literal["auto"], num_nodes: int) -> dict[str, Any]:
    """Arguments of a trainer of so many processes, which a launcher has started or Lightning will.

    Every parameter takes part in every step, so no unused ones are searched. Batch norm, where a network has it, is
    over the batch of each process unless `Objective.joint_batch_norm` says otherwise; its running statistics are those
    of rank zero.

    Args:
        devices: `trainer.devices`.
        num_nodes: `trainer.num_nodes`.

    Raises:
        UserError: The settings ask for others than were started.
    """
    devices, num_nodes = layout(devices, num_nodes)
    if devices * num_nodes == 1:
        return {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    found = launch()
    if found is None:
        environment: ClusterEnvironment = LightningEnvironment()  # in an allocation of SLURM too
    else:
        environment = Tasks(found) if found.launcher == "srun" else Launched(found)
    strategy = DDPStrategy(cluster_environment=environment, gradient_as_bucket_view=True, timeout=ANSWERING)
    return {"devices": devices, "num_nodes": num_nodes, "strategy": strategy}
