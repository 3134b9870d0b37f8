"""What extraction stores, and what it says about its input."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datasets.store import Store, StoreWriter
from experiments.errors import UserError
from experiments.inference.extraction import header
from experiments.inference.inference import _warn_of_missing_audio, extract_embeddings
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle
from models.checkpoints import save_network
from models.frontends import MusiCNNMel
from models.inputs import Inputs
from models.maest import MAEST


@pytest.fixture
def source(tmp_path):
    """A folder of two files, and a store beside it."""
    for name in ("here.ogg", "also.ogg"):
        (tmp_path / name).touch()
    return SimpleNamespace(base_dir=tmp_path, features=SimpleNamespace(path=tmp_path / "mels"))


def test_tracks_whose_audio_was_deleted_are_counted(source, capsys):
    _warn_of_missing_audio(source, ["here.ogg", "gone.ogg", "also.ogg", "gone too.ogg"])
    said = capsys.readouterr().err
    assert "2 tracks are in the store" in said
    assert "'gone.ogg'" in said
    _warn_of_missing_audio(source, ["here.ogg", "also.ogg"])
    assert not capsys.readouterr().err


def test_a_store_that_was_given_as_such_has_no_audio_to_miss(source, capsys):
    source.features.path = source.base_dir
    _warn_of_missing_audio(source, ["gone.ogg"])
    assert not capsys.readouterr().err


def test_an_extraction_of_nothing_is_an_error(tmp_path):
    network, frontend = MAEST(n_classes=3, n_frames=64, dim=32, depth=1, heads=2).eval(), MusiCNNMel()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e30)
    made = {"labels": ["a", "b", "c"], "task": "tagging", "frontend": frontend.fingerprint}
    save_network(tmp_path / "network.safetensors", network, made)
    with StoreWriter(tmp_path / "mels", header("mel", (96,), "log10", frontend.parameters_dict)) as writer:
        writer.append("a.ogg", np.ones((64, 96), np.float16))
    asked = {"checkpoint": str(tmp_path / "network.safetensors"), "transformer_block": 0, "out_dir": str(tmp_path)}
    settings = PretrainSettings(
        inference=asked, datamodule={"base_dir": str(tmp_path / "mels")}, trainer={"accelerator": "cpu"}
    )
    with pytest.raises(UserError, match=r"none of 1 tracks could be stored; a\.ogg: .*not finite"):
        extract_embeddings(settings, RunHandle(tmp_path / "run", 0))


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, [0, 2], [3, 1]])
def test_f01_a_store_of_a_block_holds_the_output_of_that_block(blocks, tmp_path):
    torch.manual_seed(0)
    network, frontend = MAEST(n_classes=3, n_frames=64, dim=32, depth=4, heads=2).eval(), MusiCNNMel()
    made = {"labels": ["a", "b", "c"], "task": "tagging", "frontend": frontend.fingerprint}
    save_network(tmp_path / "network.safetensors", network, made)
    produced = header("mel", (96,), "log10", frontend.parameters_dict)
    assert produced.fingerprint == frontend.fingerprint
    mel = np.random.default_rng(0).normal(2, 1, (64, 96)).astype(np.float16)
    with StoreWriter(tmp_path / "mels", produced) as writer:
        writer.append("a.ogg", mel)
    asked = {"checkpoint": str(tmp_path / "network.safetensors"), "transformer_block": blocks, "out_dir": str(tmp_path)}
    settings = PretrainSettings(
        inference=asked, datamodule={"base_dir": str(tmp_path / "mels")}, trainer={"accelerator": "cpu"}
    )
    extract_embeddings(settings, RunHandle(tmp_path / "run", 0))
    with torch.no_grad():
        tokens = network._tokenise(Inputs(frontend, frontend.mean, frontend.std)(torch.from_numpy(mel))[None])
        outputs = [(tokens := block(tokens))[0] for block in network.blocks]
    wanted = [blocks] if isinstance(blocks, int) else blocks
    assert {path.name for path in tmp_path.glob("block_*")} == {f"block_{index:02d}" for index in wanted}
    for index in wanted:
        out = outputs[index]
        expected = torch.stack([out[0], out[1], out[2:].mean(dim=0)]).numpy()
        assert Store(tmp_path / f"block_{index:02d}").read("a.ogg")[0] == pytest.approx(expected, abs=3e-3)
