"""Predictions of tempo: what is printed and left, and songs that have none."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile
import torch

from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.prediction import predict
from experiments.inference.tempo_files import without_jumps
from experiments.robustness.evaluation import evaluate as changed_audio
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.tracking import RunHandle
from experiments.training import pretraining
from models.checkpoints import save_network
from tests.models.click_toys import clicks
from tests.models.toys import Toy


@pytest.fixture
def call(tmp_path):
    """Predicts the tempo of songs by a network that was not trained."""

    def how(audio, name="tempo", rhythm=None, asked="tempo", command=predict, perturbed=None, **inference):
        torch.manual_seed(0)
        task = build(name) if name == "tempo" else build(name, mean=[7.0], scale=[0.1])
        encoder = Encoder.of(Toy(task.n_outputs), task=task, input="audio", window=200)
        save_network(tmp_path / "toy.safetensors", encoder.network, encoder.description, encoder.frontend)
        run = RunHandle(tmp_path / "run", 0)
        run.directory.mkdir(exist_ok=True)
        given = {"checkpoint": str(tmp_path / "toy.safetensors"), "audio": str(audio), "out_dir": str(tmp_path / "out")}
        settings = PretrainSettings(
            inference=given | inference,
            trainer={"accelerator": "cpu"},
            model={"network": "tests.models.toys:Toy"},
            datamodule={"task": asked, "jobs": 1},
            rhythm=rhythm or {},
            robustness={"perturbations": perturbed},
        )
        return command(settings, run)

    return how


@pytest.mark.parametrize("name", ["tempo", "tempo_regression"])
def test_the_tempo_is_said_and_written(call, tmp_path, capsys, name):
    clicks(tmp_path / "song.wav", 8000, 6.5)
    call(tmp_path / "song.wav", name)
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    tempo = entry["tempo"]
    assert tempo.keys() == {"tempo", "second_tempo", "salience", "confidence", "over_time"}
    assert len(tempo["over_time"]) == len(entry["over_time"]) > 1
    with (tmp_path / "out" / "tempo.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["tempo"]) == tempo["tempo"]
    assert f"Estimated tempo: {tempo['tempo']:.2f} BPM (or " in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("over_time_*.png"))) == 1


def test_tempi_stay_in_the_range_that_is_asked_for(call, tmp_path):
    clicks(tmp_path / "song.wav", 8000, 6.5)
    call(tmp_path / "song.wav", rhythm={"min_bpm": 90, "max_bpm": 100})
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert 90 <= entry["tempo"]["tempo"] <= 100
    with pytest.raises(UserError, match="made otherwise"):
        call(tmp_path / "song.wav")
    with pytest.raises(UserError, match="no tempo between 400 and 500 BPM"):
        call(tmp_path / "song.wav", rhythm={"min_bpm": 400, "max_bpm": 500})


@pytest.mark.parametrize(
    ("rhythm", "said"),
    [
        ({"decoder": "dbn"}, "decoder=dbn"),
        ({"bars": [4]}, r"bars=\[4\]"),
        ({"tempo": 90}, "tempo=90.0"),
        ({"pinned": "known.beats"}, "pinned=known.beats"),
    ],
)
def test_settings_of_beats_are_refused(call, tmp_path, rhythm, said):
    clicks(tmp_path / "song.wav", 8000, 6.5)
    with pytest.raises(UserError, match=f"^rhythm.{said} has no effect on predictions of the task tempo: leave it out"):
        call(tmp_path / "song.wav", rhythm={"min_bpm": 60, **rhythm})


@pytest.mark.parametrize(("command", "perturbed"), [(pretraining.test, None), (changed_audio, "all")])
def test_an_evaluation_refuses_all_settings_of_rhythm(call, tmp_path, command, perturbed):
    for rhythm, said in (({"min_bpm": 60}, "min_bpm=60.0"), ({"decoder": ["dbn", "peaks"]}, "decoder=dbn,peaks")):
        message = f"^rhythm.{said} has no effect on an evaluation of the task tempo: leave it out"
        with pytest.raises(UserError, match=message):
            call(tmp_path, rhythm=rhythm, command=command, perturbed=perturbed, out_dir=None)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(40_000), "no onsets found, it is silent"),
        (np.full(40_000, 0.5), "no onsets found: there is nothing in this audio"),
        (np.random.default_rng(0).uniform(-0.5, 0.5, 10_000), r"1\.2 s: too short to tell a tempo"),
    ],
)
def test_a_song_without_a_tempo_is_one_sentence(call, tmp_path, samples, reason):
    soundfile.write(tmp_path / "song.wav", samples, 8000)
    with pytest.raises(UserError, match=rf"song\.wav could not be predicted: {reason}"):
        call(tmp_path / "song.wav")


def test_what_a_network_does_not_predict_is_said(call, tmp_path):
    clicks(tmp_path / "song.wav", 8000, 6.5)
    with pytest.raises(UserError, match=r"inference\.clicks is for beats, and this network predicts tempo"):
        call(tmp_path / "song.wav", clicks=True)
    with pytest.raises(UserError, match=r"beats is asked for, and this network predicts tempo.*checkpoint"):
        call(tmp_path / "song.wav", asked="beats")


def test_no_line_joins_windows_that_are_an_octave_apart():
    times, tempi = without_jumps(np.arange(5.0), np.array([90.0, 91.0, 182.0, 183.0, 91.0]))
    np.testing.assert_equal(times, [0, 1, np.nan, 2, 3, np.nan, 4])
    np.testing.assert_equal(tempi, [90, 91, np.nan, 182, 183, np.nan, 91])
