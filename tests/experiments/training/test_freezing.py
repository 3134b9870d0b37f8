"""What is frozen keeps its weights and its batch statistics through a training, and drops nothing."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from experiments.objectives import Supervised
from experiments.settings import OptimizerSettings
from experiments.tasks import build
from experiments.training.learner import Learner
from experiments.training.optimizers import freeze
from experiments.training.phases import Phase
from models.fcn import FCN

FRAMES, CLASSES = 1280, 2


def batches() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    items = [
        {
            "x": torch.randn(FRAMES, 96, generator=generator) * 5 - 30,
            "target": torch.tensor([number % 2, 1 - number % 2]).float(),
            "track": number,
            "window": number,
        }
        for number in range(8)
    ]
    return DataLoader(items, batch_size=4)


def trained(first) -> tuple[FCN, dict[str, torch.Tensor], set[str]]:
    """A network after two epochs with validations between them, what it was before, and what was in training mode."""
    torch.manual_seed(0)
    network = FCN(n_classes=CLASSES, channels=[4] * 5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    freeze(network, first)
    task = Supervised(build("tagging", classes=["a", "b"]))
    learner = Learner(network, torch.nn.Identity(), task, {}, [Phase(OptimizerSettings(lr=1e-2))])
    seen: set[str] = set()

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.update(name for name, part in module.net.named_modules() if part.training)

    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = L.Trainer(max_epochs=2, callbacks=[Watch()], enable_model_summary=False, **quiet)
    learner.log = lambda *_, **__: None
    trainer.fit(learner, batches(), batches())
    return network, before, seen


@pytest.mark.filterwarnings("ignore")
def test_a_frozen_network_keeps_everything_but_its_head():
    network, before, training = trained("all")
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"dense.weight", "dense.bias"}
    assert training == {"", "dense", "dropout"}


@pytest.mark.filterwarnings("ignore")
def test_the_first_layers_keep_their_statistics_and_the_others_do_not():
    network, before, training = trained(2)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith(("spec_bn", "layer1", "layer2"))]
    assert {"layer3.bn.running_mean", "layer5.bn.running_var", "layer3.conv.weight"} <= changed
    assert "layer3.bn" in training
    assert "layer2.bn" not in training


@pytest.mark.filterwarnings("ignore")
def test_all_is_in_training_mode_where_nothing_is_frozen():
    _, _, training = trained(0)
    assert training == {name for name, _ in FCN(n_classes=CLASSES, channels=[4] * 5).named_modules()}
