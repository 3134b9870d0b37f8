"""From settings to the device and its arithmetic."""

from __future__ import annotations

import torch

from experiments import distributed
from experiments.errors import UserError
from experiments.launcher import layout
from experiments.messages import say
from experiments.settings import TrainerSettings
from models.kernels.processor import has_bfloat16


def check_accelerator(settings: TrainerSettings) -> None:
    """Refuse an accelerator that this machine does not have, and arithmetic that the accelerator does not have.

    Raises:
        UserError: There is no such device, or fewer than asked for, or it cannot train in this precision.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(settings.accelerator, True):
        raise UserError(f"trainer.accelerator={settings.accelerator}: there is none here; set it to auto or cpu")
    cuda = on_cuda(settings)
    on_mps = settings.accelerator in ("auto", "mps") and available["mps"] and not cuda
    if settings.precision == "16-mixed" and not cuda and not on_mps:
        raise UserError(
            "trainer.precision=16-mixed: float16 is not for a CPU; set bf16-mixed, 32-true, or leave it at auto"
        )
    on_cpu = not cuda and not on_mps and settings.accelerator != "mps"
    if settings.precision == "bf16-mixed" and on_cpu and has_bfloat16() is False:
        say("trainer.precision=bf16-mixed: this processor has no bfloat16 products; 32-true is faster here")
    if cuda and (wanted := layout(settings.devices, settings.num_nodes)[0]) > torch.cuda.device_count():
        raise UserError(
            f"{wanted} processes on this node (trainer.devices={settings.devices}), each of which takes a GPU: "
            f"there are {torch.cuda.device_count()} here"
        )


def on_cuda(settings: TrainerSettings) -> bool:
    """Whether a training runs on GPUs of CUDA."""
    return settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()


def precision(settings: TrainerSettings) -> str:
    """The setting, or bf16 where there is CUDA and float32 elsewhere."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16-mixed" if on_cuda(settings) else "32-true"


def runtime_of(trainer: TrainerSettings, threads: int | None = None) -> dict[str, object]:
    """Arguments of `experiments.encoder.Runtime`: CUDA where there is one, unless the accelerator says otherwise.

    Raises:
        UserError: There is no such device here.
    """
    check_accelerator(trainer)
    wanted = trainer.accelerator
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    launch = distributed.launch()
    device = torch.device(wanted, launch.local_rank) if wanted == "cuda" and launch else torch.device(wanted)
    return {"device": device, "precision": precision(trainer), "attention": trainer.attention, "threads": threads}
