"""Published encoders of CLMR and TUNe through the commands: embeddings of any layer, tags with a head, export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Store
from experiments.configs.catalogue import PRETRAIN
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.export.exporting import export
from experiments.inference.inference import extract_embeddings
from experiments.inference.prediction import predict
from experiments.settings import InferenceSettings, PretrainSettings
from experiments.tracking import RunHandle, overrides
from models.errors import ExportError
from models.onnx_sessions import open_onnx, read_properties
from models.programs import open_program
from models.published_taggers import MAGNATAGATUNE
from tests.models import contrastive_files as files

RATE = 22_050
FEW = ["tracking.mongo=off", "trainer.accelerator=cpu", "datamodule.jobs=1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with published files, and music at another rate."""
    monkeypatch.chdir(tmp_path)
    torch.save(files.lightning(files.clmr()), "clmr.ckpt")
    torch.save(files.lightning(files.tune(plus=True)), "tune_plus.ckpt")
    torch.save({"state_dict": files.head(prefix="model.")}, "head.ckpt")
    (tmp_path / "music").mkdir()
    for number, seconds in enumerate((3.0, 9.0)):
        samples = 0.1 * np.random.default_rng(number).standard_normal((round(16_000 * seconds), 2))
        soundfile.write(tmp_path / "music" / f"{number}.wav", samples, 16_000)
    return tmp_path


def settings(*words: str) -> PretrainSettings:
    return overrides.compose(PretrainSettings, PRETRAIN, [*words, *FEW]).settings


def run(command, folder, *words: str) -> dict:
    (folder / "run").mkdir(exist_ok=True)
    return command(settings(*words), RunHandle(folder / "run", 0))


def test_every_block_of_tune_can_be_tapped(folder):
    layers = ["conv1", "conv5", "convDown4", "convDown9"]
    words = ["inference.checkpoint=tune_plus.ckpt", f"inference.layer=[{','.join(layers)}]", "inference.out_dir=out"]
    run(extract_embeddings, folder, "tune_plus_inference", *words, "datamodule.base_dir=music")
    stored = {layer: Store(f"out/layer_{layer}") for layer in layers}
    shapes = {layer: sorted(store.read(id).shape for id in store.ids) for layer, store in stored.items()}
    values = {"conv1": 11, "conv5": 176, "convDown4": 176, "convDown9": 512}
    assert shapes == {layer: [(1, 1, size), (3, 1, size)] for layer, size in values.items()}  # of 3 and 9 s


def test_a_head_of_its_own_names_the_tags_of_magnatagatune(folder):
    words = ["inference.checkpoint=clmr.ckpt", "inference.head=head.ckpt", "inference.audio=music/1.wav"]
    run(predict, folder, "clmr_mtt_inference", *words, "inference.out_dir=tags")
    encoder = Encoder.load("clmr.ckpt", head="head.ckpt", labels="magnatagatune", device="cpu")
    assert encoder.labels == MAGNATAGATUNE
    assert ", head sha256 " in encoder.weights
    audio = 0.1 * np.random.default_rng(5).standard_normal(3 * 59_049).astype(np.float32)
    head = files.head()
    with torch.no_grad():
        chunks = files.clmr_by_definition(files.clmr(), torch.from_numpy(audio).view(3, -1))
        logits = chunks @ head["0.weight"].T + head["0.bias"]
        expected = logits.sigmoid().mean(0)  # the mean of probabilities, not of logits
    np.testing.assert_allclose(encoder.predict(audio, RATE).whole, expected.numpy(), atol=1e-4)


def test_without_a_head_there_is_nothing_to_predict(folder):
    encoder = Encoder.load("clmr.ckpt", device="cpu")
    assert encoder.labels == ()
    with pytest.raises(UserError, match="train a head"):
        _ = encoder.task
    with pytest.raises(UserError, match=r"give the classifier .* inference\.head=FILE"):
        Encoder.load("clmr.ckpt", labels="magnatagatune", device="cpu")


def test_a_head_is_of_a_checkpoint():
    with pytest.raises(ValueError, match="head=x without checkpoint"):
        InferenceSettings(head="x")


@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_an_encoder_alone_is_a_file_from_audio_to_representation(form, folder, capsys):
    suffix = {"onnx": ".onnx", "torch_export": ".pt2"}[form]
    words = ["inference.checkpoint=tune_plus.ckpt", f"export.format={form}", f"export.path=tune{suffix}"]
    result = run(export, folder, "tune_plus_inference", *words)
    assert set(result) == {"representation_difference", "bytes"}
    audio = 0.1 * torch.randn(3, 59_049, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = files.tune_by_definition(files.tune(plus=True), audio)["convDown9"].mean(2)
    if form == "onnx":
        session = open_onnx("tune.onnx", 1)
        assert [one.name for one in session.get_inputs()] == ["audio"]
        assert [one.name for one in session.get_outputs()] == ["representation"]
        (found,) = session.run(None, {"audio": audio.numpy()})
        assert json.loads(read_properties("tune.onnx")["layers"]) == ["convDown9"]
    else:
        (found,) = open_program("tune.pt2")[0](audio)
    assert np.abs(np.asarray(found) - expected.numpy()).max() < 1e-4
    assert "(representation,) = " in capsys.readouterr().out


def test_an_encoder_with_a_head_is_a_file_with_logits(folder):
    words = ["inference.checkpoint=clmr.ckpt", "inference.head=head.ckpt", "export.path=clmr.onnx"]
    run(export, folder, "clmr_mtt_inference", *words)
    logits, embeddings = open_onnx("clmr.onnx", 1).run(None, {"audio": np.zeros((2, 59_049), np.float32)})
    assert (logits.shape, embeddings.shape) == ((2, 50), (2, 1, 1, 512))
    assert json.loads(read_properties("clmr.onnx")["labels"]) == list(MAGNATAGATUNE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export.any_length=True"], "windows of 59049 samples alone"),
        (["export.layers=[layer10,layer11]"], "one is exported at a time"),
    ],
)
def test_what_such_a_file_cannot_be_is_said(words, said, folder):
    with pytest.raises(ExportError, match=said):
        run(export, folder, "clmr_inference", "inference.checkpoint=clmr.ckpt", "export.path=x.onnx", *words)
