"""Throughput in the log: figures by a clock of the test's own, and by a real trainer."""

from __future__ import annotations

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger

from experiments.training import throughput
from experiments.training.throughput import WARM_UP, Throughput
from models.maest import MAEST
from models.maest.flops import cost

NETWORK = MAEST(n_classes=3, n_frames=64, dim=16, depth=2, heads=2, s_patchout_t=1)


class Logged:
    def __init__(self):
        self.points = []

    def log_metrics(self, metrics, step):
        self.points.append((step, dict(metrics)))


@pytest.fixture
def clock(monkeypatch):
    """Seconds, as the test sets them."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now.seconds)
    return now


def trainer(device="cpu", precision="bf16-mixed", world_size=1, gather=1):
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(
        logger=Logged(),
        strategy=strategy,
        precision=precision,
        world_size=world_size,
        global_step=0,
        accumulate_grad_batches=gather,
        num_training_batches=10_000,
    )


def learner(network):
    """What the callback asks of a learner."""
    return SimpleNamespace(
        net=network, objective=SimpleNamespace(views=1), input_shape=lambda batch: tuple(batch["x"].shape[1:])
    )


def steps(callback, on, clock, count, *, wait=1.0, work=3.0, clips=8):
    module, batch = learner(NETWORK), {"x": torch.zeros(clips, 64, 96)}
    for number in range(count):
        clock.seconds += wait
        callback.on_train_batch_start(on, module, batch, number)
        clock.seconds += work
        on.global_step += (number + 1) % on.accumulate_grad_batches == 0
        callback.on_train_batch_end(on, module, None, batch, number)
    return module


def test_a_value_every_so_many_batches_once_warm(clock):
    callback, on = Throughput(every=5), trainer(world_size=2)
    steps(callback, on, clock, WARM_UP, work=60.0)
    steps(callback, on, clock, 12)
    assert [step for step, _ in on.logger.points] == [WARM_UP + 4, WARM_UP + 9]
    first, second = (point for _, point in on.logger.points)
    assert first.keys() == {"train/clips_per_second", "train/data_wait"}
    assert first["train/clips_per_second"] == pytest.approx(2 * 8 / 4)
    assert second["train/data_wait"] == pytest.approx(1 / 4)


def test_steps_of_several_batches_have_one_value_each(clock):
    callback, on = Throughput(every=2), trainer(gather=4)
    steps(callback, on, clock, 24)
    assert [step for step, _ in on.logger.points] == [1, 3, 5]
    assert [point["train/clips_per_second"] for _, point in on.logger.points] == pytest.approx([2.0] * 3)


def test_validation_is_not_waiting_and_short_epochs_are_logged(clock):
    callback, on = Throughput(every=50), trainer()
    module = steps(callback, on, clock, WARM_UP + 3)
    callback.on_validation_start(on, module)
    clock.seconds += 1000.0
    steps(callback, on, clock, 3)
    callback.on_train_epoch_end(on, module)
    assert len(on.logger.points) == 2
    for _, point in on.logger.points:
        assert point["train/clips_per_second"] > 1
        assert point["train/data_wait"] <= 0.25
    callback.on_train_epoch_end(on, module)
    assert len(on.logger.points) == 2


def test_what_was_measured_is_kept_for_a_picture_and_in_checkpoints(clock):
    callback, on = Throughput(every=5), trainer()
    steps(callback, on, clock, WARM_UP + 10)
    assert callback.series["train/data_wait"] == [(WARM_UP + n, pytest.approx(0.25)) for n in (4, 9)]
    again = Throughput(every=5)
    again.load_state_dict(callback.state_dict())
    assert again.series == callback.series
    steps(again, on, clock, WARM_UP + 5)
    assert len(again.series["train/clips_per_second"]) == 3
    assert len(callback.series["train/clips_per_second"]) == 2


def test_utilisation_is_the_arithmetic_over_the_peak(clock, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    callback, on = Throughput(every=4), trainer("cuda")
    steps(callback, on, clock, WARM_UP + 4, wait=0.0)
    (_, point), *_ = on.logger.points
    expected = 8 / 3 * cost(NETWORK, 64, training=True).training_flops / 989.4e12
    assert point["train/mfu"] == pytest.approx(expected)
    assert callback.latest == point


@pytest.mark.parametrize(
    ("device", "name", "precision"),
    [("cpu", "NVIDIA H200", "bf16-mixed"), ("cuda", "Tesla T4", "16-mixed"), ("cuda", "NVIDIA H200", "32-true")],
)
def test_no_utilisation_where_no_peak_is_known(clock, monkeypatch, device, name, precision):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    callback, on = Throughput(every=1), trainer(device, precision)
    steps(callback, on, clock, WARM_UP + 1)
    assert "train/mfu" not in on.logger.points[0][1]


def test_nor_where_part_of_the_network_is_frozen(clock, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    callback, on = Throughput(every=1), trainer("cuda")
    NETWORK.blocks[0].requires_grad_(False)
    try:
        steps(callback, on, clock, WARM_UP + 1)
    finally:
        NETWORK.blocks[0].requires_grad_(True)
    assert "train/mfu" not in on.logger.points[0][1]


class Learner(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)

    def input_shape(self, batch):
        return tuple(batch["x"].shape[1:])

    def training_step(self, batch, batch_idx):
        return self.net(batch["x"]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_in_a_real_trainer(tmp_path):
    points = []

    class Kept(DummyLogger):
        def log_metrics(self, *arguments, **named):
            points.append((arguments, named))

    loader = torch.utils.data.DataLoader([{"x": torch.ones(3, 4)} for _ in range(20)], batch_size=2)
    callback = Throughput(every=4)
    L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=Kept(),
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        log_every_n_steps=10,
    ).fit(Learner(), loader)
    ours = [named["step"] for arguments, named in points if "train/clips_per_second" in arguments[0]]
    assert ours == [5, 9, 13, 17, 19]
    assert 0 <= callback.latest["train/data_wait"] < 1
    assert callback.latest["train/clips_per_second"] > 0
