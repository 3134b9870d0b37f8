"""`ex_pretrain.py` in which one rank is killed, or fails, at a given optimiser step: CUT=rank:step:kill or :fail."""

from __future__ import annotations

import os
import signal

import torch

from ex_pretrain import ex
from experiments.training.learner import Learner

rank, step, how = os.environ["CUT"].split(":")
training_step = Learner.training_step


def cut(self: Learner, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
    """Train on, up to the step."""
    if (self.global_rank, self.global_step) == (int(rank), int(step)):
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("this rank is broken")
    return training_step(self, batch, batch_idx)


Learner.training_step = cut

if __name__ == "__main__":
    ex.run_commandline()
