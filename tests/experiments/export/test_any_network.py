"""Export of a network, and a front end that it has learned, from outside of the project."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.encoder import Encoder
from experiments.export.cards import card
from experiments.export.exporting import export
from experiments.export.formats import ExportJob
from experiments.settings import ExportSettings, PretrainSettings
from experiments.tasks import build
from experiments.tracking import RunHandle
from models.checkpoints import load_checkpoint, save_network
from models.errors import CheckpointError
from models.programs import open_program
from tests.models.toys import Toy

TOY = "tests.models.toys:Toy"


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> Encoder:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    task = build("genre", classes=["x", "y", "z"])
    encoder = Encoder.of(Toy(3), task=task, input="audio", window=80, device="cpu")
    with torch.no_grad():
        encoder.frontend.gains.mul_(3)
    save_network("toy.safetensors", encoder.network, encoder.description, encoder.frontend)
    return encoder


def exported(tmp_path, **chosen):
    settings = PretrainSettings(
        model={"network": TOY},
        inference={"checkpoint": "toy.safetensors"},
        trainer={"accelerator": "cpu"},
        export=chosen,
    )
    (tmp_path / "run").mkdir(exist_ok=True)
    return export(settings, RunHandle(tmp_path / "run", 0))


def test_a_program_takes_audio(encoder, tmp_path, capsys):
    assert exported(tmp_path, format="torch_export", path="toy.pt2", layers=["clip"])["logits_difference"] < 1e-5
    program, about = open_program(tmp_path / "toy.pt2")
    audio = 0.1 * torch.randn(2, 79 * 100, generator=torch.Generator().manual_seed(1))
    logits, embeddings = program(audio)
    expected = encoder.embed(audio[0], 8000)["clip"]
    np.testing.assert_allclose(embeddings[0].numpy(), expected, atol=1e-5)
    assert torch.softmax(logits[0], 0).tolist() == pytest.approx(list(encoder.predict(audio[0], 8000).whole), abs=1e-5)
    assert (json.loads(about["layers"]), about["clip_samples"], about["sample_rate"]) == (["clip"], "7900", "8000")
    assert "blocks" not in about
    assert "embeddings: of the layers clip; tokens: mean" in capsys.readouterr().out


def test_a_copy_keeps_what_the_front_end_has_learned(encoder, tmp_path):
    assert exported(tmp_path, format="safetensors", path="copy.safetensors")["logits_difference"] == 0
    copy = load_checkpoint(tmp_path / "copy.safetensors", allowed={"tests.models.toys"})
    assert torch.equal(copy.frontend.gains, encoder.frontend.gains)
    assert copy.metadata["labels"] == ["x", "y", "z"]


def test_a_layout_that_cannot_hold_it_is_refused(encoder, tmp_path):
    with pytest.raises(CheckpointError, match=r"layout is that of maest, not of Toy: export it as onnx"):
        exported(tmp_path, format="huggingface", path="hf")
    assert not (tmp_path / "hf").exists()


def test_a_file_for_other_programs_says_from_when_on_a_tag_is_given(encoder):
    entry = {"tags": ["x", "y", "z"], "values": [0.1, 0.2, 0.3], "global": 0.2, "split": "valid", "tracks": 9}
    tagger = replace(encoder, description={**encoder.description, "task": "tagging", "thresholds": entry})
    job = ExportJob(ExportSettings(format="torch_export"), tagger, ["clip"], 80, card(tagger, None, None))
    assert json.loads(job.properties()["thresholds"]) == entry
