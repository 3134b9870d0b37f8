"""Layers that settings name, by name or by number."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from experiments.errors import UserError
from experiments.networks.opening import layers_of, open_encoder
from experiments.settings import InferenceSettings, PretrainSettings
from models import download, musicnn_wheel
from models.checkpoints import save_network
from models.errors import CheckpointError
from models.musicnn_original import MusicnnOriginal
from models.published_taggers import MSD
from models.releases import RELEASES


def encoder(*layers: str) -> SimpleNamespace:
    network = SimpleNamespace(name="mine", layer_names=layers)
    return SimpleNamespace(network=network, layers=lambda names: [names] if isinstance(names, str) else names)


def test_any_network_whose_layers_are_called_so_has_numbered_blocks():
    mine = encoder("stem", "block_00", "block_01")
    assert layers_of(InferenceSettings(transformer_block=[1, 0]), mine) == ["block_01", "block_00"]
    assert layers_of(InferenceSettings(layer="stem"), mine) == ["stem"]
    with pytest.raises(UserError, match=r"transformer_block=2: this network has the blocks 0 to 1"):
        layers_of(InferenceSettings(transformer_block=2), mine)


def test_blocks_of_a_network_that_has_none_are_refused_with_its_layers():
    with pytest.raises(UserError, match=r"mine has no blocks, but the layers stem, head; .*inference\.layer=NAME"):
        layers_of(InferenceSettings(transformer_block=0), encoder("stem", "head"))


def opened(checkpoint: object, **settings: object):
    inference = {"checkpoint": str(checkpoint), **settings.pop("inference", {})}
    return open_encoder(PretrainSettings(inference=inference, **settings))


def test_a_wheel_needs_a_network_that_is_chosen(tmp_path, monkeypatch):
    wheel = tmp_path / "musicnn-0.1.0-py3-none-any.whl"
    original = {"model": {"network": "musicnn_original", "pretrained": "musicnn_original_msd"}}
    with pytest.raises(UserError, match=r"musicnn-0\.1\.0-py3-none-any\.whl: no such file"):
        opened(wheel, **original)
    wheel.write_bytes(b"wheel")
    with pytest.raises(UserError, match=r"add model\.pretrained=musicnn_original_mtt or musicnn_original_msd"):
        opened(wheel)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="has 5 bytes, musicnn_original_msd has 29292476"):
        opened(wheel, **original)

    def convert(wheel, release, path):
        network = MusicnnOriginal(**release.arguments)
        save_network(path, network, release.metadata)

    monkeypatch.setattr(download, "_verify", lambda *_: None)
    monkeypatch.setattr(musicnn_wheel, "convert", convert)
    encoder = opened(wheel, **original)
    assert encoder.labels == MSD
    assert encoder.weights == RELEASES["musicnn_original_msd"].identity
    with pytest.raises(UserError, match=r"inference\.labels=jamendo: these weights name other classes \(rock, pop, "):
        opened(wheel, **original, inference={"labels": "jamendo"})


def test_a_corpus_of_another_number_of_tags(tmp_path):
    save_network(tmp_path / "small.safetensors", MusicnnOriginal(n_classes=7), {})
    with pytest.raises(UserError, match=r"inference\.labels=msd: 50 names, the network has 7 classes"):
        opened(tmp_path / "small.safetensors", inference={"labels": "msd"})


def test_a_network_that_the_file_is_not_of_is_not_used(tmp_path, capsys):
    file = tmp_path / "small.safetensors"
    save_network(file, MusicnnOriginal(n_classes=7), {})
    assert opened(file, model={"network": "fcn"}).network.name == "musicnn_original"
    assert f"{file} is of the network musicnn_original; model.network=fcn is not used" in capsys.readouterr().err
    opened(file)
    opened(file, model={"network": "musicnn_original"})
    assert "is not used" not in capsys.readouterr().err


def test_a_sum_is_of_a_file():
    with pytest.raises(ValueError, match="sha256=00 without checkpoint"):
        InferenceSettings(sha256="00")
