"""Training on vectors, beside the published recipe written out in plain torch."""

from __future__ import annotations

from dataclasses import replace

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from datasets.samplers import EpochSampler
from experiments.objectives import Supervised
from experiments.probes.vectors import Split
from experiments.settings import DatamoduleSettings
from experiments.tasks import build
from experiments.training.checkpointing import StepSeeds, step_seed
from experiments.training.learner import Learner
from experiments.training.phases import phases
from experiments.training.schedules import exp_lin
from experiments.transfer.data import StoredVectors
from experiments.transfer.settings import TransferSettings
from models.mlp import MLP
from models.network import Network

TRACKS, VALUES, CLASSES, EPOCHS, BATCH, SEED = 22, 7, 3, 4, 8, 3


@pytest.fixture
def split() -> Split:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(TRACKS, VALUES)).astype(np.float32)
    y = (generator.random((TRACKS, CLASSES)) < 0.5).astype(np.float32)
    ids = [f"{number}.ogg" for number in range(TRACKS)]
    return Split(x, y, ids)


def of_vectors(network: nn.Module, module) -> Learner:
    """A learner of vectors with the objective of a probe."""
    task = build("tagging", classes=["a", "b", "c"])
    return Learner(network, nn.Identity(), Supervised(task), {}, phases(module))


def plain(split: Split) -> nn.Sequential:
    """The recipe: AdamW at 1e-4 and 1e-3, a factor an epoch, tracks in the sampler's order, BCE with logits."""
    torch.manual_seed(SEED)
    net = nn.Sequential(nn.Linear(VALUES, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, CLASSES))
    adam = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=1e-3)
    factor, sampler = exp_lin(1, 1, 3, 1e-7), EpochSampler(np.ones(TRACKS), TRACKS, seed=SEED)
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        order = [track for track, _ in sampler]
        adam.param_groups[0]["lr"] = 1e-4 * factor(epoch)
        for number in range(0, TRACKS, BATCH):
            rows = order[number : number + BATCH]
            torch.manual_seed(step_seed(SEED, epoch, number // BATCH, 0))
            loss = nn.functional.binary_cross_entropy_with_logits(net.train()(x[rows]), y[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net.eval()


def test_training_is_the_recipe_in_plain_torch(split, tmp_path):
    settings = TransferSettings()
    module = settings.module.model_copy(update={"optimizer": settings.module.optimizer.over(EPOCHS)})
    torch.manual_seed(SEED)
    learner = of_vectors(MLP(VALUES, CLASSES), module)
    data = StoredVectors(DatamoduleSettings(batch_size_train=BATCH), {"train": split, "valid": split}, SEED)
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        callbacks=[StepSeeds(SEED)],
    )
    trainer.fit(learner, data)
    assert trainer.global_step == EPOCHS * data.steps_per_epoch(settings.trainer)
    expected, x = plain(split), torch.from_numpy(split.x)
    with torch.inference_mode():
        torch.testing.assert_close(learner.eval()(x), expected(x), atol=1e-6, rtol=1e-5)
    assert learner.evaluation.scores["roc_auc"] > 0.5


def test_f16_the_schedule_follows_the_length_of_the_training():
    optimizer = TransferSettings().module.optimizer
    published = optimizer.over(60)
    assert (published.warm_up_len, published.ramp_down_start, published.ramp_down_len) == (10, 10, 50)
    short = optimizer.over(12)
    assert (short.warm_up_len, short.ramp_down_start, short.ramp_down_len) == (2, 2, 10)
    given = optimizer.model_copy(update={"warm_up_len": 3, "ramp_down_start": 5}).over(9)
    assert (given.warm_up_len, given.ramp_down_start, given.ramp_down_len) == (3, 5, 4)


def test_predictions_of_a_song_are_the_mean_of_those_of_its_clips(split):
    class Zero(Network):
        def forward(self, x):
            return x[:, :CLASSES]

    numbers = np.arange(TRACKS) // 2
    y = np.repeat(split.y[: TRACKS // 2], 2, axis=0)
    songs = replace(split, y=y, groups=tuple(f"song {n}" for n in numbers))
    learner = of_vectors(Zero(), TransferSettings().module)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.test(learner, StoredVectors(DatamoduleSettings(batch_size_test=5), {"test": songs}, 0), verbose=False)
    each = learner.objective.task.decode(split.x[:, :CLASSES])
    np.testing.assert_allclose(learner.evaluation.predictions, each.reshape(11, 2, CLASSES).mean(1), atol=1e-6)
    np.testing.assert_array_equal(learner.evaluation.references, y[::2])
