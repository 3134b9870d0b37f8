"""Fine-tuning by the command a user types: network, input and windows follow from the weights; the head is new."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from experiments.configs.catalogue import TRANSFER
from experiments.errors import UserError
from experiments.tracking import overrides
from experiments.transfer.settings import TransferSettings
from models.checkpoints import load_checkpoint, save_network
from models.fcn import FCN
from models.frontends import MusiCNNMel
from models.maest import MAEST
from models.mlp import MLP
from models.releases import RELEASES

ROOT = Path(__file__).resolve().parents[1]
CHANNELS = [4, 4, 4, 4, 4]
LABELS = {"task": "tagging", "labels": ["one", "other"]}
NARROW = {"n_classes": 2, "n_frames": 156, "dim": 32, "depth": 2, "heads": 2}  # windows of 2.5 s
FEW = ["debug", "datamodule.task=genre", "trainer.max_epochs=1", "trainer.limit_train_batches=2"]


def run(*words: str) -> dict:
    from ex_transfer import ex

    return ex.run_commandline([str(ROOT / "ex_transfer.py"), "with", "finetune", *words, "tracking.mongo=off"])


def composed(*words: str) -> TransferSettings:
    return overrides.compose(TransferSettings, TRANSFER, ("finetune", *words)).settings


@pytest.fixture(scope="module", autouse=True)
def home(tiny_corpus, tmp_path_factory):
    """A working directory with trained networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("finetune"))
        patch.setenv("OSTINATO_CACHE", str(tiny_corpus.parents[1]))
        torch.manual_seed(0)
        fcn = FCN(n_classes=2, channels=CHANNELS, dropout=0.3)
        torch.nn.init.normal_(fcn.layer3.bn.running_mean)
        save_network(Path("fcn.safetensors"), fcn, LABELS)
        about = {**LABELS, "frontend": MusiCNNMel().description, "normalisation": [1.5, 2.5], "window": 156}
        save_network(Path("maest.safetensors"), MAEST(**NARROW), about)
        save_network(Path("mlp.safetensors"), MLP(8, 2, 4, 0.1), LABELS)
        torch.save({"spec.mel_scale.fb": torch.empty(0), **FCN(channels=CHANNELS).state_dict()}, "best_model.pth")
        torch.save({"anything": torch.zeros(3)}, "other.pth")
        yield


def weights_of_last_run() -> Path:
    return max(Path("runs").glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)


def test_the_network_follows_from_the_weights():
    given = composed("model.checkpoint=fcn.safetensors")
    assert (given.model.network, given.model.channels, given.model.dropout) == ("fcn", CHANNELS, 0.3)
    assert (given.datamodule.clip_length, given.datamodule.input) == (None, None)
    assert given == composed("model.checkpoint=fcn.safetensors", "finetune")
    changed = composed("model.checkpoint=fcn.safetensors", "model.dropout=0.1", "module.optimizer.layer_decay=0.8")
    assert (changed.model.dropout, changed.model.channels) == (0.1, CHANNELS)


def test_the_windows_follow_too():
    given = composed("model.checkpoint=maest.safetensors")
    assert (given.model.network, given.model.dim, given.model.depth) == ("maest", 32, 2)
    assert int(given.datamodule.clip_length * 62.5) == 156
    assert composed("model.checkpoint=maest.safetensors", "datamodule.clip_length=2").datamodule.clip_length == 2


def test_published_weights_and_releases():
    given = composed("model.checkpoint=best_model.pth")
    assert (given.model.network, given.model.channels) == ("fcn", CHANNELS)
    for name, release in RELEASES.items():
        if release.network is None:
            with pytest.raises(UserError, match=r"is weights of an image network: give weights of one of .*fcn"):
                composed(f"model.pretrained={name}")
            continue
        given = composed(f"model.pretrained={name}")
        assert given.model.network == release.network
        if name.startswith("discogs"):
            seconds = given.datamodule.clip_length or 10
            assert int(seconds * 62.5) == release.frames


def test_what_was_fine_tuned_is_evaluated_and_applied_with_the_same_words():
    given = composed("inference.checkpoint=fcn.safetensors", "datamodule.clip_length=21")
    assert (given.model.network, given.datamodule.clip_length) == (None, 21)
    assert given.as_pretraining().inference.checkpoint == "fcn.safetensors"


@pytest.mark.parametrize("scale", ["demo", "debug"])
def test_scales_leave_the_network_as_it_is(scale):
    for file, key in (("fcn", "channels"), ("maest", "dim")):
        words = [f"model.checkpoint={file}.safetensors"]
        assert getattr(composed(scale, *words).model, key) == getattr(composed(*words).model, key)
        assert composed(scale, *words).datamodule.batch_size_train <= 16


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.checkpoint=runs/gone", r"checkpoint runs/gone: no such file"),
        ("model.checkpoint=mlp.safetensors", "is a MLP, no network that takes audio"),
        ("model.checkpoint=other.pth", "does not tell what network it is of"),
        ("model.pretrained=nothing", "there is no release 'nothing'"),
        ("trainer.max_epochs=3", r"finetune needs weights: model\.checkpoint=runs/KEY"),
    ],
)
def test_what_cannot_be_fine_tuned_is_named(word, message):
    with pytest.raises(UserError, match=message):
        composed(word)


def test_a_frozen_network_learns_a_head_and_nothing_else(capfd):
    result = run("model.checkpoint=fcn.safetensors", "module.freeze=all", *FEW)
    assert "val/accuracy" in result
    assert re.search(r"module\.freeze=all: 50 of \d+ parameters are trained", capfd.readouterr().err)
    before = load_checkpoint("fcn.safetensors").network.state_dict()
    trained = load_checkpoint(weights_of_last_run())
    after = trained.network.state_dict()
    assert trained.metadata["task"] == "genre"
    assert all(torch.equal(value, after[key]) for key, value in before.items() if not key.startswith("dense."))
    assert after["dense.weight"].shape == (10, 4)


def test_a_whole_network_learns_at_rates_by_layer():
    result = run("model.checkpoint=maest.safetensors", "module.optimizer.layer_decay=0.5", *FEW)
    assert "val/accuracy" in result
    saved = torch.load(weights_of_last_run(), weights_only=True)
    rates = {group["lr"] for group in saved["optimizer_states"][0]["param_groups"]}
    assert rates == {1e-4, 0.5e-4, 0.25e-4, 0.125e-4}
    assert saved["hyper_parameters"]["network"]["n_frames"] == 156
    assert saved["hyper_parameters"]["normalisation"] == [1.5, 2.5]
    before = load_checkpoint("maest.safetensors").network.blocks[1].attn.qkv.weight
    moved = (saved["state_dict"]["net.blocks.1.attn.qkv.weight"] - before).abs().max()
    assert 0 < moved < 1e-3


def test_without_weights_it_says_what_it_needs(capsys):
    with pytest.raises(SystemExit):
        run("debug", "datamodule.base_dir=music")
    assert capsys.readouterr().err.startswith("error: finetune needs weights: model.checkpoint=runs/KEY")
