"""Faults of the published MAEST code that weights and inference here must not have, each under its number."""

from __future__ import annotations

import pytest
import torch

from models import checkpoints
from models.checkpoints import CheckpointError, initialise, load_any, read_weights
from models.frontends import MusiCNNMel
from models.maest import MAEST
from models.maest.adapt import adapt
from models.releases import RELEASES

SMALL = {"dim": 32, "depth": 2, "heads": 2}
AUDIO_NETWORKS = [name for name, release in RELEASES.items() if release.network == "maest"]


def published(name: str) -> MAEST:
    """A released network at small width, with its own classes, positions and heads."""
    torch.manual_seed(0)
    return MAEST(**RELEASES[name].arguments, **SMALL)


@pytest.mark.parametrize("buffers", [False, True], ids=["as released", "with a front end's buffers"])
@pytest.mark.parametrize("name", AUDIO_NETWORKS)
def test_f03_every_released_file_loads_strictly(name, buffers, tmp_path):
    network = published(name)
    state = dict(network.state_dict())
    if buffers:
        state |= {"melspectrogram.spec.window": torch.ones(512), "melspectrogram.mel_scale.fb": torch.ones(257, 96)}
    torch.save(state, tmp_path / "released.ckpt")
    again = published(name)
    report = initialise(again, tmp_path / "released.ckpt")
    assert (report.adapted, report.reinitialised) == ({}, [])
    assert set(report.loaded) == set(network.state_dict())
    assert report.ignored == [key for key in state if key.startswith("melspectrogram")]
    assert not MusiCNNMel().state_dict()


def test_f04_deit_is_the_distilled_file():
    assert "distilled" in RELEASES["passt_deit_bd_p16_384"].url
    plain = {"pos_embed": torch.zeros(1, 577, 32), "cls_token": torch.zeros(1, 1, 32)}
    with pytest.raises(CheckpointError, match="use the distilled file, deit_base_distilled_patch16_384"):
        adapt(plain, MAEST(**SMALL).state_dict(), "deit_base_patch16_384")


@pytest.mark.parametrize("averaged", [False, True, None])
def test_f05_no_choice_of_prefix_leaves_random_weights(averaged, tmp_path):
    network = MAEST(n_frames=312, **SMALL)
    prefixes = ["net."] if averaged is False else ["net.", "net_swa."]
    state = {prefix + key: value for prefix in prefixes for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    start = MAEST(n_frames=312, **SMALL)
    report = initialise(start, tmp_path / "last.ckpt", averaged=averaged)
    assert (report.reinitialised, report.ignored) == ([], [])
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in start.state_dict().items())
    torch.save(
        {"state_dict": {f"other.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "x.ckpt"
    )
    with pytest.raises(CheckpointError, match="no key of its state_dict starts with"):
        initialise(start, tmp_path / "x.ckpt", averaged=averaged)


def test_f09_a_published_network_reaches_its_last_position():
    network = published("discogs-maest-5s-pw-129e").eval()
    x = torch.zeros(1, 316, 96)
    before = network(x)
    with torch.no_grad():
        network.time_new_pos_embed[..., 30] += 1
    assert not torch.equal(network(x), before)
    assert MAEST(n_frames=312, **SMALL).grid == (9, 30)


def test_f18_nothing_is_unpickled_but_tensors_and_plain_values(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code in a checkpoint was run",))

    torch.save({"model": {"cls_token": torch.ones(1)}, "extra": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointError, match="not loaded for safety"):
        read_weights(tmp_path / "trap.pt")


def test_f22_inputs_are_checked_and_never_changed():
    network = MAEST(n_frames=312, **SMALL).eval()
    x = torch.randn(2, 312, 96)
    kept = x.clone()
    with torch.no_grad():
        network(x)
        network.forward_and_embed(x, ["block_00"])
    assert x.shape == kept.shape
    assert torch.equal(x, kept)
    for wrong in (torch.randn(312, 96), torch.randn(2, 15, 96), torch.randn(0, 312, 96), torch.randn(2, 400, 96)):
        with pytest.raises(ValueError, match="expected a tensor"):
            network(wrong)
    for layer in ("block_02", "block_-2", "block_12"):
        with pytest.raises(ValueError, match=rf"layers \['{layer}'\]: this network has block_00 to block_01"):
            network.embed(x, [layer])
    with pytest.raises(ValueError, match="distilled_type='both': expected one of mean, separated"):
        MAEST(distilled_type="both", **SMALL)
    assert MAEST(n_classes=50, n_frames=312, **SMALL).eval()(x).shape == (2, 50)


@pytest.mark.parametrize("form", ["own", "lightning", "published", "huggingface"])
def test_f25_a_loaded_network_gives_the_same_twice(form, tmp_path):
    network = MAEST(
        n_classes=3, time_positions=187, dropout=0.2, stochastic_depth=0.2, **{**SMALL, "dim": 64, "heads": 1}
    )
    path = tmp_path / "weights.ckpt"
    if form == "own":
        checkpoints.save_network(path := tmp_path / "own.safetensors", network, {})
    elif form == "lightning":
        state = {f"net.{key}": value for key, value in network.state_dict().items()}
        torch.save({"state_dict": state, "hyper_parameters": {"network": network.hyperparameters}}, path)
    elif form == "published":
        torch.save(network.state_dict(), path)
    else:
        from models.maest.huggingface import write_huggingface

        write_huggingface(path := tmp_path / "folder", network, [], {})
    loaded, _ = load_any(path)
    assert not loaded.training
    x = torch.randn(1, 300, 96)
    with torch.no_grad():
        assert torch.equal(loaded(x), loaded(x))
