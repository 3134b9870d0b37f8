"""What a training starts from: weights, their normalisation, rows of heads."""

from __future__ import annotations

import pytest
import torch

from experiments.checkpoint_files import checkpoint_file
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.networks.initial import fetch_weights, initial
from experiments.settings import PretrainSettings
from experiments.tasks import build
from models.checkpoints import CheckpointError, save_network
from models.frontends import MusiCNNMel
from models.maest import MAEST
from models.maest.huggingface import write_huggingface

SMALL = {"dim": 32, "depth": 1, "heads": 2}


def finetuned(file, **norm):
    """A network that starts from a file."""
    settings = PretrainSettings(
        model={**SMALL, "checkpoint": str(file), "checkpoint_discard_head": True},
        datamodule={"clip_length": 5, "norm": norm},
    )
    return initial(settings, MusiCNNMel(), build("tagging", classes=["a", "b"]))


@pytest.fixture(params=["own.safetensors", "lightning.ckpt"])
def saved(request, tmp_path):
    """Writes a checkpoint that says a front end and a normalisation of its own."""
    network, file = MAEST(**SMALL, n_classes=3, n_frames=312), tmp_path / request.param

    def save(**metadata):
        if file.suffix == ".safetensors":
            save_network(file, network, metadata)
        else:
            state = {f"net.{key}": value for key, value in network.state_dict().items()}
            header = {"network": dict(network.hyperparameters), **metadata}
            torch.save({"state_dict": state, "hyper_parameters": header}, file)
        return file

    return save


def test_fine_tuning_keeps_the_normalisation_of_its_checkpoint_unless_one_is_set(saved):
    file = saved(frontend=MusiCNNMel().fingerprint, normalisation=[1.5, 0.5])
    assert (finetuned(file).mean, finetuned(file).std) == (1.5, 0.5)
    assert (finetuned(file, norm_mean=2.0).mean, finetuned(file, norm_mean=2.0).std) == (2.0, 0.5)
    file = saved()
    assert (finetuned(file).mean, finetuned(file).std) == (MusiCNNMel().mean, MusiCNNMel().std)


def test_fine_tuning_on_features_of_another_front_end_is_refused(saved):
    with pytest.raises(UserError, match="made for features 0123456789abcdef, these are"):
        finetuned(saved(frontend="0123456789abcdef"))


def started(**model):
    """A network of two classes that starts from a file."""
    settings = PretrainSettings(model={**SMALL, **model}, datamodule={"clip_length": 5})
    return initial(settings, MusiCNNMel(), build("tagging", classes=["a", "b"]))


def test_fine_tuning_takes_rows_of_the_head_by_the_names_of_classes(tmp_path, capsys):
    network, file = MAEST(**SMALL, n_classes=3, n_frames=312), tmp_path / "own.safetensors"
    save_network(file, network, {"labels": ["c", "b", "x"]})
    head = started(checkpoint=str(file)).network.head[1].weight
    assert torch.equal(head[1], network.head[1].weight[1])
    assert not any(torch.equal(head[0], row) for row in network.head[1].weight)
    assert "head.1.weight (1 of 2 classes by name, the others random)" in capsys.readouterr().err
    head = started(checkpoint=str(file), checkpoint_discard_head=True).network.head[1].weight
    assert not torch.equal(head[1], network.head[1].weight[1])


def test_longer_and_deeper_weights_start_what_is_asked_for(tmp_path, capsys):
    network, file = MAEST(**{**SMALL, "depth": 3}, n_classes=2, n_frames=625), tmp_path / "own.safetensors"
    save_network(file, network, {})
    cropped = started(checkpoint=str(file), positions="crop").network
    assert torch.equal(cropped.time_new_pos_embed, network.time_new_pos_embed[..., :30])
    assert not torch.equal(started(checkpoint=str(file)).network.time_new_pos_embed, cropped.time_new_pos_embed)
    assert "ignored: blocks.1, blocks.2" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=r"has 3 blocks, the network 4: .*missing_blocks=random"):
        started(checkpoint=str(file), depth=4)
    assert started(checkpoint=str(file), depth=4, missing_blocks="random").network.depth == 4


def test_training_begins_in_training_mode():
    assert started().network.training


def test_a_hugging_face_folder_is_a_checkpoint(tmp_path):
    network = MAEST(**SMALL, n_classes=3, n_frames=312, head_norm_eps=1e-6)
    write_huggingface(tmp_path, network, ["a", "b", "c"], {"normalisation": [1.5, 0.5]})
    assert checkpoint_file(str(tmp_path)) == tmp_path
    loaded = Encoder.load(str(tmp_path))
    assert (loaded.labels, loaded.mean, loaded.std) == (("a", "b", "c"), 1.5, 0.5)
    x = torch.randn(1, 312, 96)
    torch.testing.assert_close(loaded.network(x), network.eval()(x), atol=1e-5, rtol=0)
    tuned = started(checkpoint=str(tmp_path))
    assert tuned.network.head[0].eps == 1e-6
    assert (tuned.mean, tuned.std) == (1.5, 0.5)
    assert torch.equal(tuned.network.head[1].weight, network.head[1].weight[:2])


def test_networks_for_other_features_are_for_starting_from(tmp_path):
    network = MAEST(**SMALL, n_classes=2, n_frames=998, n_bands=128)
    save_network(tmp_path / "passt.safetensors", network, {})
    message = r"n_bands=128 of another front end, .* makes n_bands=96; .*model\.checkpoint"
    with pytest.raises(CheckpointError, match=message):
        Encoder.load(str(tmp_path / "passt.safetensors"))
    assert started(checkpoint=str(tmp_path / "passt.safetensors")).network.n_bands == 96


@pytest.mark.parametrize("trained", [False, True])
def test_weights_that_cannot_be_had_are_missed_before_anything_is_computed(tmp_path, monkeypatch, trained):
    from experiments.training import preparing

    def unreachable(*_, **__):
        raise AssertionError("the features come after the weights")

    monkeypatch.setattr(preparing, "open_source", unreachable)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    monkeypatch.setattr("models.download.transfer", lambda *_: (_ for _ in ()).throw(ConnectionError("no network")))
    settings = PretrainSettings(model={"pretrained": "passt_s_swa_p16_128_ap476"}, datamodule={"clip_length": 30})
    way_out = "inference.checkpoint=FILE" if trained else "model.pretrained=None"
    with pytest.raises(CheckpointError, match=f"no network.*{way_out}"):
        preparing.prepare(settings, None, trained)
    fetch_weights(PretrainSettings().model)
    with pytest.raises(UserError, match="no such file"):
        fetch_weights(PretrainSettings(model={"checkpoint": "gone.ckpt"}).model)
