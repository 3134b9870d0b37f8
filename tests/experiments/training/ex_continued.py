"""A small training with everything that is random in one, to be cut and gone on with.

A supervised one of features, or a contrastive one of audio, where `module.objective` says so.

As a script it reads one job a line (JSON: `store`, `folder`, `resume`, `at`, `settings`), trains each in a process of
its own and prints how that ended. `at` is `[hook, n, signals]`: what it is sent at the n-th call of a hook, and with it
the processes that load its data, as by a terminal or SLURM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from datasets.examples import Examples
from datasets.store import Store, StoreWriter
from datasets.windows import Plan
from experiments.inference.extraction import header
from experiments.objectives import Supervised
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.tracking import RunHandle, lifecycle
from experiments.tracking.journal import Journal
from experiments.tracking.run import Recorder
from experiments.training import contrastive
from experiments.training.averaging import averaging
from experiments.training.learner import Learner
from experiments.training.loading import SplitLoaders
from experiments.training.monitoring import monitored
from experiments.training.optimizers import freeze
from experiments.training.phases import phases, total_epochs
from experiments.training.recipes import training_augmentations
from experiments.training.trainer import History, make_trainer
from experiments.windowing import Windowing
from models.frontends import MusiCNNMel
from models.inputs import Inputs
from models.maest import MAEST
from preprocess.audio import header as audio_header

BANDS, FRAMES, CLASSES, TRACKS = 36, 46, 3, 22
RATE = 22_050  # Hz
SMALL = {"network": "samplecnn", "channels": [4] * 11, "strides": [2] * 9}
RANDOM = {"dropout": 0.1, "attention_dropout": 0.1, "stochastic_depth": 0.2, "s_patchout_t": 1, "u_patchout": 1}


class At(Callback):
    """Calls something at the n-th call of a hook (n from 1)."""

    def __init__(self, hook: str, n: int, act) -> None:
        self.left, self.act = n, act
        setattr(self, hook, self._count)

    def _count(self, *_args, **_more) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()


def make_store(folder: Path) -> Path:
    """A store of random mels, some shorter than a clip."""
    generator = np.random.default_rng(0)
    with StoreWriter(folder / "mels", header("mel", (BANDS,), "level", {"made": "by hand"})) as writer:
        for number in range(TRACKS):
            frames = int(generator.integers(30, 120))
            writer.append(f"{number}.ogg", generator.normal(2, 1, (frames, BANDS)).astype(np.float32))
    return folder / "mels"


def make_audio_store(folder: Path) -> Path:
    """A store of random samples, some fewer than a crop has."""
    generator = np.random.default_rng(0)
    with StoreWriter(folder / "audio", audio_header(RATE)) as writer:
        for number in range(TRACKS):
            samples = int(generator.integers(1000, 5000))
            writer.append(f"{number}.ogg", generator.normal(0, 3000, samples).astype(np.int16))
    return folder / "audio"


def make_contrastive(store: Path, folder: Path, **sections):
    """What `make` gives, of a contrastive training on audio."""
    settings = PretrainSettings.model_validate(
        {
            "trainer": {"max_epochs": 4, "accelerator": "cpu", "log_every_n_steps": 1, **sections.get("trainer", {})},
            "model": {**SMALL, "frontend_arguments": {"sample_rate": RATE}},
            "module": sections["module"],
            "datamodule": {"base_dir": str(store), "batch_size_train": 4, **sections.get("datamodule", {})},
        }
    )
    run = RunHandle(folder, 5, Recorder(Journal.create(folder.parent, folder.name, home=folder / "home")))
    torch.manual_seed(0)
    learner, clips = contrastive.prepare(settings, run)
    curves = History()
    steps = clips.steps_per_epoch(settings.trainer)
    trainer = make_trainer(settings.trainer, run, curves, steps, averaging(settings.module), learner.monitor)
    return trainer, learner, clips, curves


def make(store: Path, folder: Path, **sections):
    """The trainer, learner and clips of a training in `folder`, and what it logs."""
    if sections.get("module", {}).get("objective") == "contrastive":
        return make_contrastive(store, folder, **sections)
    settings = PretrainSettings.model_validate(
        {
            "trainer": {"max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1, **sections.get("trainer", {})},
            "module": {"optimizer": {"lr": 1e-2, "warm_up_len": 2}, **sections.get("module", {})},
            "datamodule": {
                "batch_size_train": 3,
                "batch_size_test": 2,
                "roll": {"do": True},
                "masking": {"time_mask_param": 4, "p": 0.5},
                **sections.get("datamodule", {}),
            },
        }
    )
    ids = tuple(f"{number}.ogg" for number in range(TRACKS))
    targets = (np.random.default_rng(1).random((TRACKS, CLASSES)) < 0.5).astype(np.float32)
    targets[:, 0] = 1 - targets[:, 1:].max(axis=1)
    parts = {"train": slice(0, 17), "valid": slice(17, 22), "test": slice(17, 22)}
    splits = {name: Examples(ids[part], ids[part], targets[part]) for name, part in parts.items()}
    torch.manual_seed(0)
    arguments = {
        "n_bands": BANDS,
        "n_frames": FRAMES,
        "n_classes": CLASSES,
        "dim": 16,
        "depth": 2,
        "heads": 2,
        **RANDOM,
    }
    network = MAEST(**arguments)
    network.head_dist.requires_grad_(False)
    freeze(network, settings.module.freeze)
    learner = Learner(
        network,
        Inputs(MusiCNNMel(), 2.0, 0.5),
        Supervised(build("tagging", classes=[f"class {number}" for number in range(CLASSES)])),
        {"network": arguments, "run_fingerprint": "this"},
        phases(settings.module),
        training_augmentations(settings.module, settings.datamodule),
        monitored(settings.trainer.monitor),
    )
    curves = History()
    clips = SplitLoaders(
        settings.datamodule, Store(store), splits, Windowing(FRAMES, Plan(FRAMES, FRAMES), 1.0), seed=5
    )
    steps = clips.steps_per_epoch(settings.trainer)
    run = RunHandle(folder, 5, Recorder(Journal.create(folder.parent, folder.name, home=folder / "home")))
    epochs = total_epochs(learner.phases, settings.trainer.max_epochs)
    average = averaging(settings.module)
    trainer = make_trainer(settings.trainer, run, curves, steps, average, learner.monitor, max_epochs=epochs)
    return trainer, learner, clips, curves


def train(store: Path, folder: Path, resume: str | None = None, at: At | None = None, **sections) -> History:
    """Train in `folder`; checkpoints are in `folder/checkpoints`."""
    trainer, learner, clips, curves = make(store, folder, **sections)
    if at:
        trainer.callbacks.append(at)
    run = trainer.logger._run
    if resume:
        run.rewind(torch.load(resume, weights_only=True)["global_step"])
    torch.manual_seed(int.from_bytes(os.urandom(4), "big"))  # what follows does not depend on where this begins
    try:
        trainer.fit(learner, clips, ckpt_path=resume, weights_only=True)
    finally:
        run.flush()
    return curves


def perform(job: dict) -> int:
    """Train; the exit code."""

    def act() -> None:
        for name in job["at"][2]:
            os.killpg(os.getpgrp(), signal.Signals[name])

    at = At(*job["at"][:2], act) if job["at"] else None
    ended = None
    with lifecycle.signals():
        try:
            lifecycle.normalised(
                lambda: train(Path(job["store"]), Path(job["folder"]), job["resume"], at, **job["settings"])
            )
        except lifecycle.Interrupted as error:
            ended = error
    return lifecycle.exit_code(ended)


def main() -> None:
    """Read jobs, print exit statuses."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            os.setpgrp()
            try:
                code = perform(job)
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
