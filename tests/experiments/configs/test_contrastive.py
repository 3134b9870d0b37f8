"""Named configs of contrastive pre-training are what they say."""

from __future__ import annotations

import pytest
import torch

from experiments.configs.catalogue import PRETRAIN, TRANSFER
from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.tracking import overrides
from experiments.training.contrastive import check_numbers
from experiments.training.optimizers import make_optimizer, make_schedule
from experiments.transfer.settings import TransferSettings
from models import networks
from models.checkpoints import save_network
from models.network_input import frames_in, own_frontend
from models.optim import LARS


def composed(*words: str) -> PretrainSettings:
    return overrides.compose(PretrainSettings, PRETRAIN, words).settings


def test_myna_masks_nine_tenths_of_the_patches_and_changes_no_audio():
    given = composed("myna_pretrain")
    kind = networks.find(given.model.network)
    frontend = own_frontend(kind)
    frames = frames_in(given.datamodule.clip_length, frontend)
    network = kind(**given.model.arguments, **kind.derive(frontend, frames, 0))
    with torch.device("meta"):
        kept = network.patchout.sample_each(*network.grid, 2, given.contrastive.masked).tokens.shape[1]
    assert (network.grid, kept) == ((6, 12), 7)
    assert frames == network.grid[1] * network.stride_t  # nothing of a crop is cut off
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert 21e6 < parameters < 23e6
    assert not given.datamodule.masking.do
    assert not given.datamodule.roll.do
    assert given.module.augmentations is None
    assert given.module.mixup_alpha == 0


@pytest.mark.parametrize("scale", ["demo", "debug"])
def test_myna_composes_with_scales(scale):
    given = composed("myna_pretrain", scale)
    assert given.contrastive.masked == 0.9
    assert given.model.dim < 200


def test_lars_is_that_of_simclr():
    """Its rate for a batch of 256, without warm-up and down to 0 in the last epoch; biases and norms are spared."""
    given = composed("myna_pretrain", "contrastive_lars")
    optimizer = given.module.optimizer
    assert optimizer.lr == pytest.approx(0.3 * given.datamodule.batch_size_train / 256)
    network = networks.find("maest")(n_classes=0, n_frames=48, dim=8, depth=1, heads=2)
    made = make_optimizer(network, optimizer)
    assert isinstance(made, LARS)
    assert {group["adapt"]: (group["weight_decay"], group["trust"]) for group in made.param_groups} == {
        True: (1e-6, 1e-3),
        False: (0.0, 1e-3),
    }
    schedule = make_schedule(made, optimizer, "val/loss")["scheduler"].lr_lambdas[0]
    epochs = given.trainer.max_epochs
    assert (schedule(0), schedule(epochs / 2), schedule(epochs)) == pytest.approx((1.0, 0.5, 0.0))


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ([], "data/mtt/audio_22050"),
        (["clmr_16k"], "data/mtt/audio"),
        (["clmr_8k"], "data/mtt/audio_8000"),
        (["clmr_16k", "demo"], None),
        (["demo", "clmr_16k"], None),
        (["clmr_16k", "datamodule.base_dir=music"], "music"),
    ],
)
def test_another_rate_is_trained_on_another_store(words, folder):
    assert composed("clmr_pretrain", *words).datamodule.base_dir == folder


def test_variants_of_tune_are_of_tune_alone():
    with pytest.raises(UserError, match="tune_vanilla is for tune, and the network is maest: give it with tune_pretr"):
        composed("tune_vanilla")
    with pytest.raises(UserError, match="and no network is named: give it with tune_pretrain or tune_inference"):
        overrides.compose(TransferSettings, TRANSFER, ["tune_vanilla"])
    assert composed("tune_vanilla", "tune_pretrain").model.network == "tune"


def test_a_head_with_a_hidden_layer_is_for_networks_that_have_one(tmp_path):
    """Elsewhere `hidden` is no setting, or one of the network itself."""
    sizes = {"musicnn": {"n_classes": 0, "hidden": 5}, "clmr": {"n_classes": 0, "channels": [4] * 11}}
    for name, given in sizes.items():
        save_network(tmp_path / f"{name}.safetensors", networks.find(name)(**given), {})

    def head(config: str, network: str) -> TransferSettings:
        words = [config, f"model.checkpoint={tmp_path / network}.safetensors"]
        return overrides.compose(TransferSettings, TRANSFER, words).settings

    with pytest.raises(UserError, match="clmr_mlp is for clmr and tune and tune_hybrid, and the network is musicnn"):
        head("clmr_mlp", "musicnn")
    assert head("clmr_linear", "musicnn").model.hidden == 5
    assert head("clmr_mlp", "clmr").model.hidden == 512
    assert head("clmr_linear", "clmr").model.hidden == 0


def test_too_few_tracks_of_the_demo_corpus_are_called_so():
    with pytest.raises(UserError, match="only 60 tracks of the demo corpus are for training"):
        check_numbers(60, 10, 1024, corpus=" of the demo corpus")
