"""A training that is killed, or asked to end, goes on as if nothing had happened."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from experiments.errors import UserError
from experiments.tracking.journal import read_points
from experiments.training.checkpointing import SaveOften, step_seed

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("ex_continued.py")
KEPT = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "loops")
SETTINGS = {
    "mean of snapshots": {
        "trainer": {"checkpoint_every_n_steps": 1, "accumulate_grad_batches": 4},
        "module": {"swa_epoch_start": 1, "swa_freq": 2},
    },
    "moving average": {
        "trainer": {"checkpoint_every_n_steps": 4, "gradient_clip_val": 0.1, "check_val_every_n_epoch": 2},
        "module": {"ema_decay": 0.8, "freeze": 1, "optimizer": {"layer_decay": 0.7, "decay_all": False}},
        "datamodule": {"num_workers": 1, "sampler": {"epoch_len": 14}},
    },
    "contrastive": {
        "trainer": {"checkpoint_every_n_steps": 1},
        "module": {
            "objective": "contrastive",
            "optimizer": {"name": "adam", "lr": 3e-4, "weight_decay": 0.0, "schedule_mode": "constant"},
            "augmentations": [{"name": "polarity"}, {"name": "noise"}, {"name": "gain"}, {"name": "high_low_pass"}],
        },
    },
}
KILLED = [
    ("mean of snapshots", ("on_train_batch_start", 6)),  # gradients are gathered
    ("mean of snapshots", ("on_before_optimizer_step", 4)),
    ("mean of snapshots", ("on_validation_batch_start", 2)),
    ("mean of snapshots", ("on_save_checkpoint", 4)),
    ("moving average", ("on_train_batch_end", 4)),  # saved, and not yet logged by Lightning
    ("moving average", ("on_train_epoch_start", 3)),
    ("moving average", ("on_train_batch_start", 9)),
    ("contrastive", ("on_train_batch_start", 7)),
    ("contrastive", ("on_validation_batch_start", 3)),
]


@pytest.fixture(scope="module")
def small():
    """The module `ex_continued`."""
    spec = importlib.util.spec_from_file_location("ex_continued", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def store(small, tmp_path_factory):
    return small.make_store(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def audio(small, tmp_path_factory):
    return small.make_audio_store(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="module")
def processes(store, audio):
    """Trains in a process of its own; gives its exit status, the negative signal where one ended it."""
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=where
    ) as server:

        def run(folder: Path, settings: dict, resume: Path | None = None, at: tuple | None = None) -> int:
            of_audio = settings.get("module", {}).get("objective") == "contrastive"
            job = {"store": str(audio if of_audio else store), "folder": str(folder), "at": at, "settings": settings}
            server.stdin.write(json.dumps({**job, "resume": str(resume) if resume else None}) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        yield run
        server.stdin.close()


@pytest.fixture(scope="module")
def whole(processes, tmp_path_factory):
    """What a training that nothing disturbs leaves behind, by the name of its settings."""
    done = {}

    def train(name: str) -> dict:
        if name not in done:
            folder = tmp_path_factory.mktemp("whole")
            assert processes(folder, SETTINGS[name]) == 0
            done[name] = last(folder)
        return done[name]

    return train


def last(folder: Path) -> dict:
    """The last checkpoint of a training, and what it logged."""
    logged: dict[str, list] = {}
    for record in read_points(folder):
        logged.setdefault(record["name"], []).extend((step, value) for step, value, _ in record["points"])
    return {**torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True), "logged": logged}


def assert_same(first, second) -> None:
    """Everything that matters in two checkpoints is equal, bit by bit."""
    for key in KEPT:
        torch.testing.assert_close(first[key], second[key], rtol=0, atol=0, msg=lambda text, key=key: f"{key}: {text}")
    for name, state in first["callbacks"].items():
        if "Average" in name:
            assert state == second["callbacks"][name]
    assert judged(first) == judged(second)
    assert first["logged"] == second["logged"]


def judged(checkpoint: dict) -> dict:
    """What validations gave."""
    series = checkpoint["callbacks"]["History"]["series"]
    return {name: points for name, points in series.items() if name.startswith("val/")}


@pytest.mark.parametrize(("name", "kill"), KILLED)
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(name, kill, processes, whole, tmp_path):
    assert processes(tmp_path, SETTINGS[name], at=(*kill, ["SIGKILL"])) == -signal.SIGKILL
    cut = last(tmp_path)
    assert 0 < cut["global_step"] < whole(name)["global_step"]
    assert processes(tmp_path, SETTINGS[name], resume=tmp_path / "checkpoints" / "last.ckpt") == 0
    assert_same(last(tmp_path), whole(name))


def test_two_and_two_epochs_of_contrastive_learning_are_four(small, audio, processes, whole, tmp_path):
    """Network, projection head and optimiser bit by bit; tracks in memory give the same training."""
    settings = SETTINGS["contrastive"]
    memory = {**settings, "datamodule": {"preload": "device"}}
    small.train(audio, tmp_path, **{**memory, "trainer": {"max_epochs": 2}})
    halfway = last(tmp_path)
    assert (halfway["epoch"], 2 * halfway["global_step"]) == (1, whole("contrastive")["global_step"])
    assert processes(tmp_path, memory, resume=tmp_path / "checkpoints" / "last.ckpt") == 0
    done = last(tmp_path)
    assert_same(done, whole("contrastive"))
    assert {name.split(".")[0] for name in done["state_dict"]} == {"net", "objective"}


@pytest.mark.parametrize(
    ("name", "hook", "step", "sent"),
    [
        (
            "mean of snapshots",
            ("on_train_batch_start", 2),
            1,
            "SIGTERM",
        ),  # the rest of the step's batches is waited for
        ("mean of snapshots", ("on_before_optimizer_step", 2), 2, "SIGTERM"),  # the last step of an epoch
        ("mean of snapshots", ("on_validation_batch_start", 5), 4, "SIGTERM"),
        ("mean of snapshots", ("on_validation_end", 1), 2, "SIGTERM"),  # with the checkpoint of the epoch
        ("moving average", ("on_train_batch_start", 2), 2, "SIGINT"),
        ("moving average", ("on_train_epoch_start", 2), 6, "SIGINT"),  # with the first step of the epoch
        ("moving average", ("on_train_batch_start", 5), 5, "SIGINT"),  # the last of an epoch without validation
    ],
)
def test_a_signal_leaves_a_checkpoint_to_go_on_from(name, hook, step, sent, processes, whole, tmp_path):
    settings = {**SETTINGS[name], "trainer": {**SETTINGS[name]["trainer"], "checkpoint_every_n_steps": None}}
    assert processes(tmp_path, settings, at=(*hook, [sent])) == 128 + signal.Signals[sent]
    interrupted = tmp_path / "checkpoints" / "interrupted.ckpt"
    assert torch.load(interrupted, weights_only=True)["global_step"] == step
    assert processes(tmp_path, settings, resume=interrupted) == 0
    assert_same(last(tmp_path), whole(name))


def test_a_second_signal_does_not_wait_for_the_step(processes, tmp_path):
    twice = ["SIGUSR1", "SIGTERM"]
    assert processes(tmp_path, {}, at=("on_before_optimizer_step", 2, twice)) == 128 + signal.SIGTERM
    assert not (tmp_path / "checkpoints" / "interrupted.ckpt").exists()


def test_handlers_are_those_from_before_when_a_training_is_over(small, store, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    small.train(store, tmp_path, trainer={"max_epochs": 1})
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_middle_of_an_epoch_needs_the_same_batches(small, store, processes, tmp_path):
    settings = {"trainer": {"checkpoint_every_n_steps": 2}}
    assert processes(tmp_path, settings, at=("on_train_batch_start", 4, ["SIGKILL"])) == -signal.SIGKILL
    with pytest.raises(UserError, match="batches of 3 on 1 processes, this is batches of 4 on 1 processes"):
        small.train(
            store,
            tmp_path / "other",
            resume=str(tmp_path / "checkpoints" / "last.ckpt"),
            datamodule={"batch_size_train": 4},
        )


def test_minutes_are_counted_from_the_newest_checkpoint(monkeypatch, tmp_path):
    now, saved = [0.0], []
    monkeypatch.setattr("experiments.training.checkpointing.time.monotonic", lambda: now[0])
    monkeypatch.setattr("experiments.training.checkpointing.log_step", lambda trainer: None)

    class Trainer:
        accumulate_grad_batches, num_training_batches, world_size, is_global_zero = 2, 100, 1, True
        global_step, current_epoch = 0, 3

        def save_checkpoint(self, path):
            saved.append(now[0])

    told = []
    callback = SaveOften(tmp_path / "last.ckpt", minutes=15, saved=lambda *what: told.append(what))
    callback.on_train_start(Trainer(), None)
    for batch in range(100):
        now[0] += 61.0  # seconds
        callback.on_train_batch_end(Trainer(), None, None, None, batch)
    assert saved == [61.0 * batches for batches in (16, 32, 48, 64, 80, 96)]  # whole steps only
    assert told[0] == (tmp_path / "last.ckpt", 3, 0)


def test_every_step_has_a_seed_of_its_own():
    seeds = {step_seed(*where) for where in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]}
    assert len(seeds) == 5
    assert step_seed(1, 2, 3, 4) == step_seed(1, 2, 3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.manual_seed(max(seeds))
