"""A tiny experiment that ends in every way there is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from experiments.configs.named import NamedConfig
from experiments.errors import UserError
from experiments.tracking import Experiment, RunHandle, TrackingSettings


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimizer(Section):
    lr: Annotated[float, Field(gt=0, lt=1, description="learning rate")] = 0.1
    momentum: float | None = None


class Model(Section):
    width: Annotated[int, Field(ge=1)] = 8
    blocks: list[int] = [1, 2]
    optimizer: Optimizer = Optimizer()


class Target(Section):
    name: str
    api_token: str | None = None


class Tiny(Section):
    seed: int = 7
    end: str = "return"
    where: str = "outside"
    noise: int = 0
    steps: int = 60
    resume: bool = False
    model: Model = Model()
    target: Target | None = None
    stores: dict[str, str] = {}
    tracking: TrackingSettings = TrackingSettings()


NAMED = {
    "small": NamedConfig("The smallest.", {"model": {"width": 1}}),
    "wide": NamedConfig("A wide one.", {"model": {"width": 64, "blocks": [3]}}),
    "target_mtt": NamedConfig("A section where there was none.", {"target": {"name": "mtt"}}),
}

ex = Experiment("ex_tiny", Tiny, NAMED, resumable=["train"])


class StoreError(ValueError):
    """As a room of ours would name it."""

    __module__ = "datasets.store"


def fill(run: RunHandle) -> None:
    """Leave no room on the disk of the run, then go on with its record."""
    with contextlib.suppress(OSError), (run.directory / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for step in range(20_000):
        run.log_scalar("val/loss", 0.5, step)


def end(how: str, run: RunHandle) -> None:
    """End in the way that is asked for."""
    if how == "raise":
        raise RuntimeError("boom")
    if how == "user":
        raise UserError("key=3: expected 4; write key=4")
    if how == "store":
        raise StoreError("not the fingerprint that is expected")
    if how.startswith("exit"):
        sys.exit(int(how[4:]))
    if how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
        threading.Event().wait(240)
    if how == "fill":
        fill(run)
    if how == "hang":
        try:
            print("ready", flush=True)
            threading.Event().wait()
        finally:
            print("hangs", flush=True)
            threading.Event().wait()


@ex.main
def main(settings: Tiny, run: RunHandle) -> dict[str, object]:
    """Print, log a loss, and end as told."""
    print(f"seed {settings.seed} in {run.directory.name}")
    for step in range(5):
        run.log_scalar("train/loss", 1.0 / (step + 1), step)
    for line in range(settings.noise):
        print(f"line {line}")
    if settings.where == "inside":
        fit(settings, run)
    elif settings.where == "ddp":
        fit(settings, run, devices=2)
    else:
        print("last words")
        end(settings.end, run)
    return {"val": {"map": 0.5}}


@ex.command
def train(settings: Tiny, run: RunHandle) -> dict[str, object]:
    """Log, draw and save for some steps, from the last saved one on; `KILL=step:seconds` kills it from then on."""
    state, kill_at, seconds = run.directory / "state.json", *os.environ.get("KILL", "inf:0").split(":")
    kill: threading.Timer | None = None
    step = json.loads(state.read_text())["step"] if run.origin == run.directory and state.exists() else 0
    if run.origin is not None:
        run.rewind(step)
    while True:
        if kill is None and step >= float(kill_at):
            kill = threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL))
            kill.start()
        if step == settings.steps:
            return {"val": {"map": 0.5}, "steps": step}
        run.log_scalar("train/loss", 1.0 / (step + 1), step)
        if step % 4 == 0:
            run.log_scalar("val/map", step / settings.steps, step)
            picture = run.directory / "picture.txt"
            picture.write_text(f"picture of step {step}")
            run.add_artifact(picture, f"picture{step:03d}.txt")
            run.add_artifact(picture, "newest.txt")
            run.set_info(seen={"step": step}, newest=step)
        step += 1
        if step % 3 == 0:
            run.flush()
            aside = state.with_suffix(".part")
            aside.write_text(json.dumps({"step": step}))
            os.replace(aside, state)
            run.register_checkpoint(state, epoch=0, step=step, score=step / settings.steps, best=True)
        threading.Event().wait(0.005)


def fit(settings: Tiny, run: RunHandle, devices: int = 1) -> None:
    """Train a line for a few steps; what is to happen happens in the third step."""
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from experiments.tracking import RunLogger

    class Line(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            loss = (self.line(batch[0]) ** 2).mean()
            self.log("train/loss_inside", loss, on_step=True)
            if index == 2 and (devices == 1 or self.global_rank == 1):
                print("last words")
                end(settings.end, run)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    pl.seed_everything(run.seed, verbose=False)
    if devices > 1:
        draw = f"seed {settings.seed} in {run.directory.name}: first draw {torch.rand(1).item():.6f}\n"
        Path(f"draw{os.environ.get('RANK', os.environ.get('LOCAL_RANK', '0'))}.txt").write_text(draw)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=1,
        logger=RunLogger(run),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.directory,
    )
    trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(8, 1)), batch_size=1))


def serve() -> None:
    """Start a forked process for each line of standard input, a JSON list `[cwd, output, words, environment]`.

    The imports are paid once. The answer to each is a line with the exit code.
    """
    import lightning.pytorch

    print(lightning.pytorch.__name__, flush=True)
    for request in sys.stdin:
        cwd, output, words, environment = json.loads(request)
        child = os.fork()
        if child == 0:
            os._exit(_be(cwd, output, words, environment))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _be(cwd: str, output: str, words: list[str], environment: dict[str, str]) -> int:
    """One process: its own session, folder and output."""
    os.setsid()
    os.chdir(cwd)
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    code = 0
    try:
        ex.run_commandline([str(Path(__file__)), *words])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        ex.run_commandline()
