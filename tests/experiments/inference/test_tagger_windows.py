"""Files of every length through a tagger with windows of half a minute: places of windows, and stores of both types."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Store
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.inference import extract_embeddings, extract_logits
from experiments.inference.prediction import predict
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.tracking import RunHandle
from experiments.training.preparing import prepare
from experiments.training.trainer import History, make_trainer
from models.checkpoints import save_network
from models.fcn import FCN
from preprocess import build_store, load
from preprocess.sources import AudioError
from tests.models.taggers import with_statistics

RATE, LABELS = 16_000, ["a", "b", "c"]
WINDOWS = {1: 1, 3.69: 1, 29: 1, 31.9: 1, 41: 2, 60: 2, 300: 11}  # seconds of a file -> windows, as few as cover it


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    network = with_statistics(FCN(n_classes=3, channels=[4, 4, 4, 4, 4]))
    return Encoder.of(network, task=build("tagging", classes=LABELS), device="cpu")


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """`[samples, channels]`, louder at its end."""
    samples = np.random.default_rng(round(100 * seconds)).standard_normal((round(rate * seconds), channels))
    return (np.linspace(0.01, 0.2, len(samples))[:, None] * samples).astype(np.float32)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A file of every length, and files that are unlike others."""
    folder = tmp_path_factory.mktemp("music")
    for seconds in WINDOWS:
        soundfile.write(folder / f"{seconds}.wav", noise(seconds), RATE, subtype="FLOAT")
    soundfile.write(folder / "stereo.wav", noise(30, 44_100, 2), 44_100, subtype="FLOAT")
    soundfile.write(folder / "8 kHz.wav", noise(45, 8000), 8000, subtype="FLOAT")
    soundfile.write(folder / "no samples.wav", np.zeros((0, 1)), RATE)
    (folder / "empty.wav").touch()
    return folder


@pytest.fixture
def settings(encoder, music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_network("fcn.safetensors", encoder.network, encoder.description, encoder.frontend)

    def made(datamodule=None, **inference) -> PretrainSettings:
        return PretrainSettings(
            model={"network": "fcn"},
            trainer={"accelerator": "cpu"},
            datamodule={"base_dir": str(music), "jobs": 1} | (datamodule or {}),
            inference={"checkpoint": "fcn.safetensors", "audio": str(music), "out_dir": "out"} | inference,
        )

    return made


@pytest.fixture
def run(tmp_path) -> RunHandle:
    (tmp_path / "run").mkdir()
    return RunHandle(tmp_path / "run", 0)


def predictions(tmp_path) -> dict[str, dict]:
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    return {entry["audio"].rpartition("/")[2]: entry for entry in entries}


@pytest.mark.parametrize("seconds", WINDOWS)
def test_as_few_windows_as_cover_a_file_and_they_reach_its_end(encoder, seconds):
    audio = noise(seconds)[:, 0]
    prediction = encoder.predict(audio, RATE)
    assert len(prediction.times) == WINDOWS[seconds]
    if len(prediction.times) > 1:
        assert prediction.times[0] == 0
        assert prediction.times[-1] == pytest.approx(seconds - 29)
    elif seconds >= 29:
        middle = (len(audio) - 464_000) // 2
        np.testing.assert_array_equal(prediction.whole, encoder.predict(audio[middle : middle + 464_000], RATE).whole)
    np.testing.assert_allclose(prediction.whole, prediction.over_time.mean(0, dtype=np.float64), rtol=1e-6)


def test_a_number_and_a_distance_are_settings_of_their_own(encoder):
    audio = noise(41)[:, 0]
    assert encoder.predict(audio, RATE, windows=5).times.tolist() == [0, 3, 6, 9, 12]
    assert encoder.predict(audio, RATE, windows=1).times.tolist() == [6]
    by_hop = encoder.predict(audio, RATE, hop=5)
    assert by_hop.times.tolist() == [0, 5, 10, 12]
    alone = encoder.predict(audio[12 * RATE :], RATE)
    np.testing.assert_allclose(by_hop.over_time[-1], alone.whole, atol=1e-6)
    assert encoder.embed(audio, RATE, windows=5)["layer5"].shape == (5, 1, 4)
    assert encoder.embed(audio, RATE, hop=5)["layer5"].shape == (4, 1, 4)
    assert encoder.embed(audio, RATE)["layer5"].shape == (1, 1, 4)  # as in a store
    assert encoder.predict(audio, RATE, seconds=41).window == pytest.approx(41, abs=0.1)


def test_channels_and_rates_mean_the_same(encoder):
    both = noise(30, 44_100, 2)
    mixed = encoder.predict(both.mean(1), 44_100).whole
    np.testing.assert_allclose(encoder.predict(both.T, 44_100).whole, mixed, atol=1e-6)
    assert encoder.predict(noise(45, 8000)[:, 0], 8000).over_time.shape == (2, 3)
    with pytest.raises(AudioError, match="not empty"):
        encoder.predict(np.zeros(0, np.float32), RATE)


def test_logits_are_averaged_before_they_become_probabilities(encoder):
    audio = noise(60)[:, 0]
    usual = encoder.predict(audio, RATE, windows=4)
    logits = np.log(usual.over_time.astype(float)) - np.log1p(-usual.over_time.astype(float))
    joined = encoder.predict(audio, RATE, windows=4, join="mean_logits")
    np.testing.assert_allclose(joined.whole, 1 / (1 + np.exp(-logits.mean(0))), atol=1e-5)
    np.testing.assert_array_equal(joined.over_time, usual.over_time)
    assert joined.whole.dtype == usual.whole.dtype


def test_the_command_takes_files_of_every_length(settings, run, encoder, music, tmp_path, capsys):
    counts = predict(settings(), run)
    assert counts == {"predicted": len(WINDOWS) + 2, "already": 0, "skipped": 2}
    found = predictions(tmp_path)
    lengths = {name: len(entry["over_time"]) for name, entry in found.items()}
    assert lengths == {f"{seconds}.wav": n for seconds, n in WINDOWS.items()} | {"stereo.wav": 1, "8 kHz.wav": 2}
    expected = encoder.predict(load(music / "60.wav", RATE), RATE)
    assert found["60.wav"]["ranked"] == pytest.approx(expected.best(3), abs=1e-4)
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        assert {row["audio"].rpartition("/")[2] for row in csv.DictReader(file)} == {"empty.wav", "no samples.wav"}
    assert "padded with silence: 2 files" in capsys.readouterr().err


def test_predictions_with_other_windows_or_joins_are_not_mixed(settings, run, music, tmp_path):
    one = {"audio": str(music / "60.wav")}
    predict(settings(**one), run)
    assert predict(settings(**one), run)["already"] == 1
    for other in ({"windows": 4}, {"hop": 10.0}, {"join": "mean_logits"}):
        with pytest.raises(UserError, match=r"inference\.overwrite=True"):
            predict(settings(**one, **other), run)
    assert predict(settings(**one, windows=4, overwrite=True), run)["predicted"] == 1
    assert len(predictions(tmp_path)["60.wav"]["over_time"]) == 4


def test_stores_hold_windows_at_one_distance(settings, run):
    with pytest.raises(UserError, match="a store holds windows at one distance"):
        extract_logits(settings(windows=4), run)
    extract_embeddings(settings({"store_type": "float32"}, hop=8.0), run)
    store = Store("out/layer5")
    assert (store.header.producer["window_frames"], store.header.producer["hop_frames"]) == (1813, 500)
    assert {name: store.length(name) for name in ("1.wav", "29.wav", "60.wav")} == {
        "1.wav": 1,
        "29.wav": 1,
        "60.wav": 5,
    }


def test_a_store_of_a_numbered_layer_goes_on_under_its_former_name(settings, run):
    extract_embeddings(settings({"store_type": "float32"}), run)
    Path("out/layer5").rename("out/layer_layer5")
    again = extract_embeddings(settings({"store_type": "float32"}), run)
    assert (again["written"], again["already"]) == (0, len(Store("out/layer_layer5").ids))
    assert [path.name for path in Path("out").iterdir()] == ["layer_layer5"]


@pytest.mark.parametrize("store_type", ["int16", "float32"])
@pytest.mark.parametrize("places", [{}, {"windows": 3}, {"hop": 7.0, "join": "mean_logits"}])
def test_evaluation_from_a_store_is_that_of_the_files(
    settings, run, encoder, music, store_type, places, capsys, tmp_path
):
    rows = [["track", "tags", "split"]]
    rows += [[f"{seconds}.wav", "abc"[number % 3], "test"] for number, seconds in enumerate(list(WINDOWS)[:6])]
    with (tmp_path / "tracks.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    data = {"groundtruth": "tracks.csv", "store_type": store_type, "task": "tagging"}
    learner, loaders = prepare(settings(data, **places), run, trained=True)
    assert ("holds 16-bit samples" in capsys.readouterr().err) == (store_type == "int16")
    make_trainer(settings().trainer, run, History()).test(learner, loaders, verbose=False)
    predicted = np.stack(learner.evaluation.predictions)
    names = loaders.splits["test"].ids
    expected = [encoder.predict(load(music / name, RATE), RATE, **places).whole for name in names]
    difference = np.abs(predicted - expected).max()
    assert difference < (1e-6 if store_type == "float32" else 0.05)
    if store_type == "float32":
        with pytest.raises(UserError, match=r"holds audio in int16, not float32.*--exact"):
            extract_embeddings(settings(data | {"base_dir": made_of_16_bits(music, tmp_path)}), run)


def made_of_16_bits(music, tmp_path) -> str:
    build_store(music, tmp_path / "rounded", frontend="audio_16000", jobs=1, ids=["1.wav"], progress=False)
    return str(tmp_path / "rounded")
