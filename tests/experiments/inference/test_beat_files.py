"""Predictions of beats: files of a song, songs with clicks, folders of songs, and what happens after a stop."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from datasets.beat_files import read_beats
from experiments.errors import UserError
from experiments.inference import beat_files
from experiments.inference.beat_files import details_of, names_of, summary_of
from experiments.inference.beat_picture import MOST_ROWS, STILL_ONE_ROW, rows_of, thinned
from experiments.inference.prediction import predict
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.tasks.beats import BeatTracking
from experiments.tracking import RunHandle
from models.checkpoints import save_network
from models.prediction import Prediction
from models.rhythm.decoded import Decoded
from preprocess.files import Candidate
from tests.models.click_toys import Clicks, Levels, clicks

NETWORK = "tests.models.click_toys:Clicks"


@pytest.fixture
def checkpoint(tmp_path):
    file = tmp_path / "network.safetensors"
    save_network(file, Clicks(), build("beats").metadata, Levels())
    return file


@pytest.fixture
def songs(tmp_path):
    folder = tmp_path / "songs"
    (folder / "sub").mkdir(parents=True)
    clicks(folder / "song.wav", 22_050, 9.0, 120, 2)
    clicks(folder / "song.flac", 8000, 4.0, 100)
    clicks(folder / "sub" / "song.wav", 8000, 5.0, 90)
    return folder


@pytest.fixture
def call(checkpoint, songs, tmp_path):
    """Predicts the songs."""

    def how(audio=songs, rhythm=None, task="beats", **inference):
        run = RunHandle(tmp_path / "run", 0)
        run.directory.mkdir(exist_ok=True)
        given = {"checkpoint": str(checkpoint), "audio": str(audio), "out_dir": str(tmp_path / "out"), **inference}
        settings = PretrainSettings(
            inference=given,
            trainer={"accelerator": "cpu"},
            model={"network": NETWORK},
            datamodule={"task": task, "jobs": 1},
            rhythm=rhythm or {},
        )
        return predict(settings, run)

    return how


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures take longer than all else."""
    monkeypatch.setattr(beat_files, "beat_picture", lambda prediction, path, title: path.touch())


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_song_has_its_files_under_its_own_name(call, songs, tmp_path, capsys):
    (songs / "bad.wav").write_text("x")
    soundfile.write(songs / "silent.wav", np.zeros(16_000), 8000)
    assert call() == {"predicted": 3, "already": 0, "skipped": 2}
    out = tmp_path / "out"
    assert below(out) == [
        ".predictions.lock",
        "beats.csv",
        "predictions.jsonl",
        "skipped.csv",
        "song.flac.beats",
        "song.flac.json",
        "song.flac.png",
        "song.wav.beats",
        "song.wav.json",
        "song.wav.png",
        "sub/song.beats",
        "sub/song.json",
        "sub/song.png",
    ]
    beats = read_beats(out / "song.wav.beats").beats
    np.testing.assert_allclose(beats.times, np.arange(0.5, 8.9, 0.5), atol=0.011)
    assert beats.positions.tolist() == [n % 4 + 1 for n in range(17)]
    about = json.loads((out / "song.wav.json").read_text())
    assert [beat["seconds"] for beat in about["beats"]] == beats.times.tolist()
    assert about["downbeats"] == beats.downbeats.tolist()
    assert (about["metre"], about["tempo"]) == (4, pytest.approx(120, abs=1))
    assert all(0.5 < beat["confidence"] <= 1 for beat in about["beats"])
    assert {round(point["tempo"]) for point in about["tempo_curve"]} == {120}
    with (out / "beats.csv").open(newline="") as file:
        assert {row["beats"] for row in csv.DictReader(file)} == {"17", "6", "7"}
    shown = capsys.readouterr()
    assert "Estimated tempo: 120" in shown.out
    assert "17 beats, 5 downbeats, 4 beats a bar" in shown.out
    assert "silent.wav: no onsets found, it is silent" in shown.err
    assert f"results: {out}/NAME{{.beats,.json,.png}}, all songs: {out}/beats.csv" in shown.err
    assert "next: the same command with inference.clicks=True" in shown.err


@pytest.mark.usefixtures("no_pictures")
def test_one_song_is_left_with_the_run(call, songs, tmp_path):
    call(songs / "song.wav", out_dir=None)
    assert (tmp_path / "run" / "beats" / "song.beats").is_file()


@pytest.mark.parametrize("name", ["bad.wav", "silent.wav"])
def test_a_song_that_cannot_be_predicted_is_one_sentence(call, tmp_path, name, capsys):
    (tmp_path / "bad.wav").write_text("x")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 8000)
    reason = "no onsets found, it is silent" if name == "silent.wav" else "not audio"
    with pytest.raises(UserError, match=rf"{name} could not be predicted: {reason}"):
        call(tmp_path / name)
    assert "skipped" not in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
def test_a_song_without_beats_or_of_a_third_of_a_second_is_no_fault(call, tmp_path, capsys):
    soundfile.write(tmp_path / "quiet.wav", 0.01 * np.random.default_rng(0).standard_normal(20_000), 8000)
    clicks(tmp_path / "blip.wav", 8000, 0.7)
    for name in ("quiet", "blip"):
        call(tmp_path / f"{name}.wav")
    assert (tmp_path / "out" / "quiet.beats").read_text() == ""
    assert json.loads((tmp_path / "out" / "quiet.json").read_text())["tempo"] is None
    assert len(read_beats(tmp_path / "out" / "blip.beats").beats) == 1
    assert "no beats found" in capsys.readouterr().out


@pytest.mark.usefixtures("no_pictures")
def test_songs_with_clicks_keep_rate_channels_and_length(call, songs, tmp_path):
    call(songs / "song.wav", clicks=True)
    mixed, rate = soundfile.read(tmp_path / "out" / "song_clicks.flac")
    assert (rate, mixed.shape) == (22_050, (9 * 22_050, 2))


@pytest.mark.usefixtures("no_pictures")
def test_a_stopped_call_goes_on_and_clicks_may_follow_later(call, songs, tmp_path, monkeypatch):
    real, count = beat_files.beat_picture, []

    def stop(*given):
        count.append(given)
        if len(count) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(beat_files, "beat_picture", stop)
    with pytest.raises(KeyboardInterrupt):
        call()
    monkeypatch.setattr(beat_files, "beat_picture", real)
    assert call() == {"predicted": 2, "already": 1, "skipped": 0}
    assert call() == {"predicted": 0, "already": 3, "skipped": 0}
    (tmp_path / "out" / "sub" / "song.json").unlink()
    assert call() == {"predicted": 1, "already": 2, "skipped": 0}
    assert call(clicks=True) == {"predicted": 3, "already": 0, "skipped": 0}
    assert call(clicks=True) == {"predicted": 0, "already": 3, "skipped": 0}
    assert sum(name.endswith("_clicks.flac") for name in below(tmp_path / "out")) == 3
    with (tmp_path / "out" / "beats.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3


@pytest.mark.usefixtures("no_pictures")
def test_files_of_others_are_not_replaced(call, songs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "song.wav.beats").write_text("mine\n")
    for _ in range(2):
        with pytest.raises(UserError, match=r"song\.wav\.beats is there already.*inference\.overwrite=True"):
            call()
    assert (out / "song.wav.beats").read_text() == "mine\n"
    assert call(overwrite=True)["predicted"] == 3
    with pytest.raises(UserError, match="lies in the folder of the songs"):
        call(clicks=True, out_dir=str(songs / "out"))


@pytest.mark.usefixtures("no_pictures")
def test_another_decoder_is_another_prediction(call, songs):
    call(songs / "song.wav")
    with pytest.raises(UserError, match=r"made otherwise .decoder peaks"):
        call(songs / "song.wav", {"decoder": "dbn"})
    with pytest.raises(UserError, match="a prediction is made by one decoder"):
        call(songs / "song.wav", {"decoder": ["peaks", "dbn"]})


@pytest.mark.usefixtures("no_pictures")
def test_beats_that_are_known_are_kept_to(call, songs, tmp_path):
    (tmp_path / "known.beats").write_text("0.75\t1\n")
    call(songs / "song.wav", {"pinned": str(tmp_path / "known.beats")})
    assert np.abs(read_beats(tmp_path / "out" / "song.beats").beats.downbeats - 0.75).min() < 0.011
    with pytest.raises(UserError, match=r"is for one recording, and inference\.audio names 3"):
        call(rhythm={"pinned": str(tmp_path / "known.beats")})


@pytest.mark.usefixtures("no_pictures")
def test_a_song_whose_activations_cannot_be_used_does_not_end_the_others(call, monkeypatch, capsys):
    real = BeatTracking.events

    def fails(task, activations):
        if len(activations) == 200:
            raise UserError("beats: activations of step 3 are nan")
        return real(task, activations)

    monkeypatch.setattr(BeatTracking, "events", fails)
    assert call() == {"predicted": 2, "already": 0, "skipped": 1}
    assert "song.flac: beats: activations of step 3 are nan" in capsys.readouterr().err


def test_other_tempi_are_told_with_their_scores():
    events = Decoded(np.array([0.5, 1.0]), np.array([2, 0]), np.ones(2, np.float32), None, ((60.0, -3.25), (240.0, -9)))
    prediction = Prediction.of_events(("beat", "downbeat"), np.arange(100) / 50, np.zeros((100, 2)), events)
    about = details_of(prediction)
    assert about["alternatives"] == [{"tempo": 60.0, "score": -3.25}, {"tempo": 240.0, "score": -9}]
    assert [beat["position"] for beat in about["beats"]] == [2, None]
    assert about["tempo_curve"] == [{"seconds": 0.75, "tempo": 120.0}]
    summary = summary_of("song.wav", prediction)
    assert (summary["seconds"], summary["downbeats"], summary["metre"]) == (1.99, 0, None)


def test_names_are_those_of_songs_with_suffix_where_they_would_be_alike(tmp_path):
    ids = ["a.mp3", "A.wav", "b/St. Anger.flac", "x.mp3.wav", "x.mp3", "x.ogg", "y"]
    found = names_of([Candidate(one, tmp_path / one) for one in ids])
    names = {path.removeprefix(f"{tmp_path}/"): name for path, name in found.items()}
    assert names == {
        "a.mp3": "a.mp3",
        "A.wav": "A.wav",
        "b/St. Anger.flac": "b/St. Anger",
        "x.mp3.wav": "x.mp3.wav",
        "x.mp3": "x.mp3",
        "x.ogg": "x.ogg",
        "y": "y",
    }


def test_curves_of_long_songs_are_drawn_with_fewer_points_and_all_peaks():
    values = np.zeros(90_001)
    values[12_345] = 1.0
    times, drawn = thinned(np.arange(90_001) / 50, values)
    assert len(times) == len(drawn) <= 4000
    assert drawn.max() == 1.0
    assert times[drawn.argmax()] == pytest.approx(12_345 / 50, abs=0.5)


@given(st.floats(1, 20_000))
def test_rows_hold_the_whole_song(duration):
    starts, seconds = rows_of(duration)
    assert len(starts) == 1 or duration > STILL_ONE_ROW
    assert len(starts) <= MOST_ROWS
    assert np.all(np.diff(starts) == seconds)
    assert starts[-1] < duration <= starts[-1] + seconds


def test_a_song_of_five_minutes_has_rows_of_half_a_minute():
    assert rows_of(290.0)[0].tolist() == [30.0 * row for row in range(10)]
    assert rows_of(1000.0)[1] == 90
