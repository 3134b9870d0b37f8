"""Hidden states of encoders of Hugging Face, from a folder: equal to the network's own, resumable, mistakes named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from datasets.store import Store
from preprocess.__main__ import main
from preprocess.decode import load
from preprocess.encoders import EncoderError, load_encoder, windows
from preprocess.encoding import extract
from tests.peers import peer

transformers = peer("transformers")

ROOT = Path(__file__).parents[2]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WHISPER = {f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("layers", "attention_heads", "ffn_dim")}
ENCODERS = {
    "wav2vec2": lambda: (
        transformers.Wav2Vec2Model(
            transformers.Wav2Vec2Config(
                **SMALL, conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2
            )
        ),
        transformers.Wav2Vec2FeatureExtractor(),
    ),
    "ast": lambda: (
        transformers.ASTModel(transformers.ASTConfig(**SMALL, max_length=200)),
        transformers.ASTFeatureExtractor(max_length=200),
    ),
    "whisper": lambda: (
        transformers.WhisperModel(transformers.WhisperConfig(d_model=32, **WHISPER)),
        transformers.WhisperFeatureExtractor(),
    ),
}
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A toy encoder of each kind, with random weights."""
    place = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    for name, make in ENCODERS.items():
        network, prepare = make()
        network.save_pretrained(place / name)
        prepare.save_pretrained(place / name)
    return {name: place / name for name in ENCODERS}


@pytest.fixture
def audio(write: Write, tmp_path: Path) -> Path:
    write("in/a.wav", 3.2)
    write("in/b/c.flac", 1.0, 44100, 2)
    (tmp_path / "in" / "bad.mp3").write_text("no audio")
    return tmp_path / "in"


def quietly(model: Path, audio: Path, store: Path, **options):
    return extract(model, audio, store, **{"device": "cpu", "progress": False, **options})


def test_windows_cover_a_track():
    track = np.arange(25)
    assert [window.tolist() for window in windows(track, 10)] == [[*range(10)], [*range(10, 20)], [*range(15, 25)]]
    assert [len(window) for window in windows(track[:20], 10)] == [10, 10]
    assert [len(window) for window in windows(track[:7], 10)] == [7]


@pytest.mark.parametrize("name", ["wav2vec2", "ast"])
def test_stores_are_the_networks_own_hidden_states(name: str, folders: dict[str, Path], audio: Path, tmp_path: Path):
    report = quietly(folders[name], audio, tmp_path / "out", seconds=1.5, batch_size=2)
    assert (report.written, report.blocks, [id for id, _ in report.skipped]) == (2, [0, 1], ["bad.mp3"])
    encoder = load_encoder(folders[name])
    samples = load(audio / "a.wav", 16000)
    parts = [samples[start : start + 24000] for start in (0, 24000, len(samples) - 24000)]
    with torch.inference_mode():
        given = encoder.prepare(parts, sampling_rate=16000, return_tensors="pt")
        states = encoder.network(**given, output_hidden_states=True).hidden_states
    for block in (0, 1):
        store = Store(tmp_path / "out" / f"block_{block:02d}", kind="embeddings")
        assert store.ids == ["a.wav", "b/c.flac"]
        assert store.header.producer["block"] == block
        expected = states[block + 1].mean(dim=1).numpy()[:, None]
        np.testing.assert_allclose(store.read("a.wav"), expected, atol=1e-5)


def test_cls_pooling_and_chosen_blocks(folders: dict[str, Path], audio: Path, tmp_path: Path):
    mean = quietly(folders["ast"], audio, tmp_path / "mean", blocks=[1])
    quietly(folders["ast"], audio, tmp_path / "cls", blocks=[1], pooling="cls")
    assert mean.blocks == [1]
    assert not (tmp_path / "mean" / "block_00").exists()
    one, other = (Store(tmp_path / name / "block_01") for name in ("mean", "cls"))
    assert one.header.fingerprint != other.header.fingerprint
    assert not np.allclose(one.read("a.wav"), other.read("a.wav"))


def test_encoder_of_an_encoder_and_decoder(folders: dict[str, Path], audio: Path, tmp_path: Path):
    assert load_encoder(folders["whisper"]).seconds == 30
    quietly(folders["whisper"], audio, tmp_path / "out")
    assert Store(tmp_path / "out" / "block_01").read("a.wav").shape == (1, 1, 32)


def test_goes_on_where_a_block_is_behind(folders: dict[str, Path], audio: Path, tmp_path: Path):
    quietly(folders["wav2vec2"], audio, tmp_path / "out", blocks=[0])
    before = Store(tmp_path / "out" / "block_00").read("a.wav").copy()
    report = quietly(folders["wav2vec2"], audio, tmp_path / "out")
    assert (report.written, report.already) == (2, 0)
    np.testing.assert_array_equal(Store(tmp_path / "out" / "block_00").read("a.wav"), before)
    report = quietly(folders["wav2vec2"], audio, tmp_path / "out")
    assert (report.written, report.already, len(report.skipped)) == (0, 2, 1)


def test_command(folders: dict[str, Path], audio: Path, tmp_path: Path, capsys):
    line = ["huggingface", str(folders["wav2vec2"]), str(audio), str(tmp_path / "out"), "--blocks", "1", "--quiet"]
    assert main([*line, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "2 tracks written, 0 already there, 1 skipped; blocks 1, 32 values each" in said
    assert "skipped.csv" in said


def test_replaced_files_are_told(folders: dict[str, Path], audio: Path, tmp_path: Path, capsys):
    quietly(folders["wav2vec2"], audio, tmp_path / "out", blocks=[0])
    (audio / "b" / "c.flac").write_bytes((audio / "a.wav").read_bytes())
    assert quietly(folders["wav2vec2"], audio, tmp_path / "out", blocks=[0]).changed == ["b/c.flac"]
    line = ["huggingface", str(folders["wav2vec2"]), str(audio), str(tmp_path / "out"), "--blocks", "0", "--quiet"]
    assert main([*line, "--device", "cpu"]) == 0
    assert "1 file has another size or date" in capsys.readouterr().out


def test_mistakes(folders: dict[str, Path], audio: Path, tmp_path: Path):
    def refused(model: Path, **options) -> str:
        with pytest.raises(EncoderError) as caught:
            quietly(model, audio, tmp_path / "out", **options)
        return str(caught.value)

    assert "has the blocks 0 to 1" in refused(folders["ast"], blocks=[2])
    assert "no CLS token" in refused(folders["wav2vec2"], pooling="cls")
    assert "windows of 0.5 to 2 s" in refused(folders["ast"], seconds=3)
    assert "0.5 s or more" in refused(folders["wav2vec2"], seconds=0.1)
    assert "seconds=0" in refused(folders["wav2vec2"], seconds=0)
    assert "no config.json" in refused(tmp_path)
    short = shutil.copytree(folders["wav2vec2"], tmp_path / "short")
    (short / "model.safetensors").unlink()
    (short / "model.safetensors").write_bytes(b"cut short")
    assert "transformers cannot load it" in refused(short)
    copy = shutil.copytree(folders["wav2vec2"], tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    gone = next(name for name in tensors if "encoder.layers.1" in name)
    del tensors[gone]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert f"lack 1 tensors of Wav2Vec2Model, such as {gone}" in refused(copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "pytorch_model.bin); .bin files are pickles" in refused(copy)
    (copy / "config.json").write_text(json.dumps({"model_type": "nonesuch"}))
    (copy / "pytorch_model.bin").rename(copy / "model.safetensors")
    assert "transformers cannot load it" in refused(copy)


def test_no_gpu_is_told(folders: dict[str, Path], audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EncoderError, match="no GPU"):
        quietly(folders["ast"], audio, tmp_path / "out", device="cuda")


def test_missing_package_is_named(audio: Path, tmp_path: Path):
    (tmp_path / "path" / "transformers").mkdir(parents=True)
    (tmp_path / "path" / "transformers" / "__init__.py").write_text("raise ImportError('No module named transformers')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "path"), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "preprocess", "huggingface", str(tmp_path), str(audio), str(tmp_path / "out")]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "pip install 'transformers>=5,<6'" in done.stderr
    assert "Traceback" not in done.stderr
