"""Which file a name of a checkpoint means."""

from __future__ import annotations

import pytest
import torch

from experiments.errors import UserError
from experiments.networks import _from_nothing, checkpoint_file, fetch_weights, initial
from experiments.settings import PretrainSettings
from experiments.tasks import build
from models.checkpoints import CheckpointError, save_network
from models.frontends import MusiCNNMel
from models.maest import MAEST

SMALL = {"dim": 32, "depth": 1, "heads": 2}


def test_the_best_of_what_a_run_left_is_taken(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("interrupted.ckpt", "last.ckpt", "best.ckpt"):
        (folder / name).touch()
        assert checkpoint_file(str(tmp_path)) == folder / name
        assert checkpoint_file(str(folder)) == folder / name
        assert checkpoint_file(str(folder / name)) == folder / name


def test_a_folder_without_a_checkpoint_and_a_missing_file_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="no checkpoint in this folder"):
        checkpoint_file(str(tmp_path))
    with pytest.raises(UserError, match="no such file"):
        checkpoint_file(str(tmp_path / "gone.ckpt"))


def test_the_way_out_without_a_download_exists():
    from experiments.configs.catalogue import PRETRAIN

    assert _from_nothing(30).split(": ")[1] in PRETRAIN
    assert _from_nothing(7.0).endswith("model.pretrained=None")


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


@pytest.mark.parametrize("trained", [False, True])
def test_weights_that_cannot_be_had_are_missed_before_anything_is_computed(tmp_path, monkeypatch, trained):
    from experiments import pretraining

    def unreachable(*_, **__):
        raise AssertionError("the features come after the weights")

    monkeypatch.setattr(pretraining, "open_source", unreachable)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    monkeypatch.setattr("models.download._transfer", lambda *_: (_ for _ in ()).throw(ConnectionError("no network")))
    settings = PretrainSettings(model={"pretrained": "passt_s_swa_p16_128_ap476"}, datamodule={"clip_length": 30})
    way_out = "inference.checkpoint=FILE" if trained else "maest_30s_random_weights_pretrain"
    with pytest.raises(CheckpointError, match=f"no network.*{way_out}"):
        pretraining.prepare(settings, None, trained)
    untrained = PretrainSettings(inference={"random_weights": True})
    fetch_weights(untrained, trained)
    with pytest.raises(UserError, match="no such file"):
        fetch_weights(PretrainSettings(model={"checkpoint": "gone.ckpt"}))
