"""The hybrid of TUNe's paper through the commands: its SampleCNN starts from a file, is frozen, tapped and exported."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Store
from experiments.configs.catalogue import PRETRAIN
from experiments.errors import UserError
from experiments.export.exporting import export
from experiments.inference.inference import extract_embeddings
from experiments.layer_folders import folder_of
from experiments.networks.initial import initial
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle, overrides
from experiments.training.pretraining import pretrain
from models.checkpoints import CheckpointError, load_checkpoint, save_network
from models.clmr import CLMR
from models.network_input import own_frontend
from models.onnx_files import open_onnx
from models.tune_hybrid import TUNeHybrid
from tests.models.taggers import with_statistics

RATE = 22_050
NARROW = [8] * 11  # as in `debug`
FEW = ["tracking.mongo=off", "trainer.accelerator=cpu", "datamodule.jobs=1"]
TRAINING = ["trainer.max_epochs=1", "datamodule.base_dir=music", "datamodule.batch_size_train=4"]
TRAINING += ["trainer.limit_train_batches=1", "module.augmentations=[{name: gain}]"]
SHARES = "datamodule.split_shares=[0.7,0.3,0.0]"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with music, and a SampleCNN that was trained without labels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTINATO_HOME", str(tmp_path / "home"))
    (tmp_path / "music").mkdir()
    for number in range(10):
        samples = 0.1 * np.random.default_rng(number).standard_normal(3 * RATE)
        soundfile.write(tmp_path / "music" / f"{number}.wav", samples, RATE)
    torch.manual_seed(0)
    save_network(tmp_path / "clmr.safetensors", with_statistics(CLMR(n_classes=0, channels=NARROW)), {})
    return tmp_path


def run(command, folder, *words: str) -> dict:
    settings: PretrainSettings = overrides.compose(PretrainSettings, PRETRAIN, [*words, *FEW]).settings
    (folder / "run").mkdir(exist_ok=True)
    return command(settings, RunHandle(folder / "run", 0))


def test_a_frozen_samplecnn_is_after_a_training_what_it_was(folder, capsys):
    words = ["model.checkpoint=clmr.safetensors", "model.freeze_samplecnn=True", *TRAINING, SHARES]
    assert np.isfinite(run(pretrain, folder, "tune_hybrid_pretrain", "debug", *words)["val/loss"])
    assert "random: conv1, conv2" in capsys.readouterr().err
    network = load_checkpoint(folder / "run" / "checkpoints" / "last.ckpt").network
    before, after = load_checkpoint(folder / "clmr.safetensors").network, network.samplecnn
    assert all(torch.equal(tensor, after.state_dict()[key]) for key, tensor in before.state_dict().items())
    assert network.conv9.layers[1].num_batches_tracked > 0
    assert isinstance(network, TUNeHybrid)
    assert network.freeze_samplecnn


@pytest.mark.parametrize("frozen", [False, True])
def test_layers_that_are_frozen_at_random_weights_are_told(frozen, folder, capsys):
    words = ["tune_hybrid_pretrain", "debug", f"model.freeze_samplecnn={frozen}", *FEW]
    settings = overrides.compose(PretrainSettings, PRETRAIN, words).settings
    initial(settings, own_frontend(TUNeHybrid), None)
    assert ("frozen at random weights: name trained ones in model.checkpoint" in capsys.readouterr().err) == frozen


def test_a_samplecnn_of_another_size_is_refused_with_the_tensor(folder):
    with pytest.raises(CheckpointError, match=r"samplecnn\.layer1\.\S+ has the shape \[8.*\], .* expects \[4"):
        run(pretrain, folder, "tune_hybrid_pretrain", "debug", *TRAINING, SHARES,
            "model.channels=[4,4,4,4,4,4,4,4,4,4,4]", "model.checkpoint=clmr.safetensors")  # fmt: skip


def test_a_checkpoint_that_is_not_there_is_named(folder):
    with pytest.raises(UserError, match=r"none\.ckpt.*no such file"):
        run(pretrain, folder, "tune_hybrid_pretrain", "debug", *TRAINING, "model.checkpoint=none.ckpt")


def test_its_layers_are_tapped_and_it_is_exported(folder):
    network = with_statistics(TUNeHybrid(n_classes=0, width=2, channels=NARROW))
    save_network(folder / "hybrid.safetensors", network, {})
    words = ["tune_hybrid_inference", "inference.checkpoint=hybrid.safetensors"]
    taps = ["inference.layer=[conv5,conv9,layer1,layer11]", "inference.out_dir=out", "datamodule.base_dir=music"]
    run(extract_embeddings, folder, *words, *taps)
    stored = {store.name: Store(store) for store in (folder / "out").iterdir()}
    shapes = {name: store.read("0.wav").shape for name, store in stored.items()}
    values = {"conv5": 32, "conv9": 1, "layer1": 8, "layer11": 8}
    assert shapes == {folder_of(name): (1, 1, size) for name, size in values.items()}
    run(export, folder, *words, "export.path=hybrid.onnx")
    audio = 0.1 * torch.randn(2, 59_049, generator=torch.Generator().manual_seed(0))
    (found,) = open_onnx("hybrid.onnx", 1).run(None, {"audio": audio.numpy()})
    with torch.no_grad():
        assert np.abs(found - network.embed(audio, ["layer11"])["layer11"][:, 0].numpy()).max() < 1e-4
