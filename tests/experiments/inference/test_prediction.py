"""Prediction: what is cut, what is run together, and what is left after a stop."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference import audio_files
from experiments.inference.prediction import predict
from experiments.inference.results import LOCK, Results
from experiments.inference.selection import tag_set
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle
from models.checkpoints import save_network
from models.cost import savings
from models.fcn import FCN
from models.frontends import MusiCNNMel, build
from models.inputs import Inputs
from models.maest import MAEST
from models.maest.huggingface import write_huggingface
from models.prediction import Prediction
from models.selection import same_for_all
from preprocess import load

LABELS = ["Rock---Punk", "Jazz---Bebop", "Pop---Kayōkyoku", "Blues---Piano Blues"]
SMALL = {"n_classes": 4, "n_frames": 312, "dim": 32, "depth": 2, "heads": 2}


def sound(path, rate: int, seconds: float, channels: int = 1) -> None:
    generator = np.random.default_rng(round(1000 * seconds))
    samples = 0.1 * generator.standard_normal((round(rate * seconds), channels))
    soundfile.write(path, samples, rate)


@pytest.fixture
def network() -> MAEST:
    torch.manual_seed(0)
    network = MAEST(**SMALL)
    torch.nn.init.normal_(network.head[1].weight)
    return network.eval()


@pytest.fixture
def checkpoint(network, tmp_path):
    file = tmp_path / "network.safetensors"
    save_network(file, network, {"labels": LABELS, "task": "tagging", "frontend": MusiCNNMel().fingerprint})
    return file


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    sound(folder / "8 kHz.wav", 8_000, 6)
    sound(folder / "96 kHz.flac", 96_000, 5.5, 2)
    sound(folder / "long.wav", 16_000, 26)
    sound(folder / "short.wav", 44_100, 0.3)
    sound(folder / "six channels.wav", 48_000, 11, 6)
    return folder


def call(music, checkpoint, tmp_path, **inference):
    run = RunHandle(tmp_path / "run", 0)
    run.directory.mkdir(exist_ok=True)
    given = {"checkpoint": str(checkpoint), "audio": str(music), "top": 3, **inference}
    settings = PretrainSettings(inference=given, trainer={"accelerator": "cpu"})
    folder = inference.get("out_dir") or run.directory
    return predict(settings, run), folder


def document(folder) -> dict[str, dict]:
    with open(f"{folder}/predictions.json", encoding="utf-8") as file:
        return {os.path.basename(entry["audio"]): entry for entry in json.load(file)}


def windows(folder) -> list[dict[str, str]]:
    with open(f"{folder}/predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_any_rate_length_and_number_of_channels(music, checkpoint, tmp_path, capsys):
    (music / "broken.mp3").write_text("no audio")
    (music / "empty.wav").touch()
    sound(music / "blip.wav", 44_100, 0.05)
    counts, folder = call(music, checkpoint, tmp_path)
    assert counts == {"predicted": 5, "already": 0, "skipped": 3}
    found = document(folder)
    assert {name: len(entry["over_time"]) for name, entry in found.items()} == {
        "8 kHz.wav": 1, "96 kHz.flac": 1, "long.wav": 5, "short.wav": 1, "six channels.wav": 2
    }  # fmt: skip
    assert found["long.wav"]["over_time"][4]["seconds"] == pytest.approx(4 * 312 / 62.5, abs=1e-3)
    assert found["short.wav"]["window_seconds"] == pytest.approx(16 / 62.5)
    shown = capsys.readouterr()
    assert "  Bebop (Jazz)" in shown.out
    assert "skipped: " in shown.err
    assert f"the best classes: {folder / 'predictions.json'} (also over time), {folder / 'ranked.csv'}" in shown.err
    assert f"all classes over time: {folder / 'predictions.csv'}" in shown.err
    assert shown.err.rstrip().endswith(f"5 predicted, 3 skipped ({folder / 'skipped.csv'})")
    with (folder / "skipped.csv").open(newline="") as file:
        assert {os.path.basename(row["audio"]) for row in csv.DictReader(file)} == {
            "broken.mp3",
            "empty.wav",
            "blip.wav",
        }
    with (folder / "ranked.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 3
    assert {row["class"] for row in rows} <= set(LABELS)
    assert len(list(folder.glob("over_time_*.png"))) == 5


def test_audio_of_a_file_is_not_rounded_to_16_bits(tmp_path):
    """Levels in dB tell 16 bits from silence: a network that takes audio sees a file as it is."""
    torch.manual_seed(0)
    network = FCN(n_classes=4, channels=[4] * 5).eval()
    save_network(tmp_path / "fcn.safetensors", network, {"labels": LABELS, "task": "tagging"}, build("mel_db"))
    time = np.arange(3 * 16_000) / 16_000
    soundfile.write(tmp_path / "quiet.flac", 0.001 * np.sin(2 * np.pi * 440 * time), 16_000, subtype="PCM_24")
    _, folder = call(tmp_path / "quiet.flac", tmp_path / "fcn.safetensors", tmp_path, top=4)
    encoder, audio = Encoder.load(str(tmp_path / "fcn.safetensors")), load(tmp_path / "quiet.flac", 16_000)
    rounded = np.rint(audio * 32_768) / np.float32(32_768)
    expected, other = (encoder.predict(one, 16_000).best(4) for one in (audio, rounded))
    assert document(folder)["quiet.flac"]["ranked"] == pytest.approx(expected, abs=2e-5)
    assert other != pytest.approx(expected, abs=2e-5)


def test_what_is_said_of_a_file_does_not_depend_on_its_company(music, checkpoint, tmp_path):
    _, folder = call(music, checkpoint, tmp_path, batch_size=4)
    together = document(folder)
    for name in ("long.wav", "short.wav"):
        _, folder = call(music / name, checkpoint, tmp_path, batch_size=1, overwrite=True)
        alone = document(folder)[name]
        assert alone["ranked"] == pytest.approx(together[name]["ranked"], abs=2e-5)


def test_probabilities_are_those_of_the_network(music, checkpoint, network, tmp_path):
    _, folder = call(music / "short.wav", checkpoint, tmp_path, top=4)
    frontend = MusiCNNMel()
    mel = frontend(torch.from_numpy(load(music / "short.wav", 16_000))).half()
    with torch.no_grad():
        expected = network(Inputs(frontend, frontend.mean, frontend.std)(mel)[None]).sigmoid()[0]
    ranked = document(folder)["short.wav"]["ranked"]
    assert ranked == pytest.approx(dict(zip(LABELS, expected.tolist(), strict=True)), abs=1e-4)
    assert list(ranked.values()) == sorted(ranked.values(), reverse=True)


def test_a_stopped_call_goes_on(music, checkpoint, tmp_path, monkeypatch):
    _, whole = call(music, checkpoint, tmp_path, out_dir=str(tmp_path / "whole"))
    out = str(tmp_path / "out")
    entered = Results.enter

    def stop(results, *given):
        if len(results.done) == 2:
            results._windows.write(b"music/torn.wav,0.0")
            results._windows.flush()
            results._lines.write(b'{"audio": "torn')
            raise KeyboardInterrupt
        return entered(results, *given)

    monkeypatch.setattr(Results, "enter", stop)
    with pytest.raises(KeyboardInterrupt):
        call(music, checkpoint, tmp_path, out_dir=out)
    monkeypatch.setattr(Results, "enter", entered)
    assert call(music, checkpoint, tmp_path, out_dir=out)[0] == {"predicted": 3, "already": 2, "skipped": 0}
    assert document(out).keys() == document(whole).keys()
    assert sorted(row["audio"] for row in windows(out)) == sorted(row["audio"] for row in windows(whole))
    assert call(music, checkpoint, tmp_path, out_dir=out)[0] == {"predicted": 0, "already": 5, "skipped": 0}
    assert len(document(out)) == 5


def test_files_that_were_replaced_are_not_taken_for_those_that_were_predicted(music, checkpoint, tmp_path):
    out = str(tmp_path / "out")
    call(music, checkpoint, tmp_path, out_dir=out)
    assert call(music, checkpoint, tmp_path, out_dir=out)[0]["already"] == 5
    assert not {"file", "csv_bytes"} & document(out)["short.wav"].keys()
    sound(music / "short.wav", 16_000, 3.0)
    with pytest.raises(UserError, match=r"1 files were replaced .*short\.wav; .*inference\.overwrite=True"):
        call(music, checkpoint, tmp_path, out_dir=out)
    assert call(music, checkpoint, tmp_path, out_dir=out, overwrite=True)[0]["predicted"] == 5


def test_predictions_made_otherwise_are_kept_unless_overwritten(music, checkpoint, tmp_path):
    out = str(tmp_path / "out")
    call(music / "short.wav", checkpoint, tmp_path, out_dir=out)
    with pytest.raises(UserError, match=r"made otherwise \(top 3 there, 2 now\).*inference\.overwrite=True"):
        call(music, checkpoint, tmp_path, out_dir=out, top=2)
    assert len(document(out)) == 1
    call(music / "long.wav", checkpoint, tmp_path, out_dir=out, top=2, overwrite=True)
    assert list(document(out)) == ["long.wav"]
    assert len(windows(out)) == 5


def test_tags_are_given_by_thresholds_and_anew_by_others(music, checkpoint, tmp_path, capsys):
    out = str(tmp_path / "out")
    call(music / "long.wav", checkpoint, tmp_path, out_dir=out, top=None)
    first = document(out)["long.wav"]
    assert list(first["selected"]) == [name for name, value in first["ranked"].items() if value >= 0.25]
    said = capsys.readouterr()
    assert "no thresholds were fitted" in said.err
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == [f"{v:.1%}" for v in first["selected"].values()]
    rule = first["selection"]
    assert (rule["rule"], rule["below_thresholds"]) == ("thresholds", False)
    assert rule["thresholds"] == dict.fromkeys(LABELS, 0.25)
    assert rule["weights"].startswith("sha256 ")
    assert rule["tag_set"] == tag_set(LABELS)
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    result, _ = call(music / "long.wav", checkpoint, tmp_path, out_dir=out, top=None, threshold=1.0)
    assert (result["predicted"], result["already"]) == (0, 1)
    said = capsys.readouterr().err
    assert "1 file was predicted before; its tags are selected again with these settings" in said
    assert said.rstrip().endswith("0 predicted (1 before), 0 skipped")
    again = document(out)["long.wav"]
    assert again["selected"] == dict([next(iter(first["ranked"].items()))])
    assert again["selection"]["below_thresholds"] is True
    assert again["selection"]["source"] == "inference.threshold=1"
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before
    call(music / "long.wav", checkpoint, tmp_path, out_dir=out, top=None, argmax=True)
    best = document(out)["long.wav"]
    assert (best["selection"]["rule"], len(best["selected"]), "thresholds" in best["selection"]) == ("argmax", 1, False)
    assert {key: best[key] for key in ("ranked", "over_time", "window_seconds")} == {
        key: first[key] for key in ("ranked", "over_time", "window_seconds")
    }


def test_entries_of_an_earlier_version_stay_as_they_are(tmp_path):
    entry = {"audio": "a.wav", "window_seconds": 5.0, "ranked": {"y": 0.75}, "over_time": []}
    lines = [{"made": {}, "csv_bytes": 0}, {**entry, "file": None, "csv_bytes": 0}]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Results(tmp_path, {}, ["x", "y"], "tags", 2, selection=same_for_all(0.25, 2, "usual")) as results:
        assert list(results.summaries()) == [entry]


def test_a_folder_of_predictions_has_one_writer_and_no_gaps(tmp_path):
    given = Prediction(
        ["x", "y"], "tags", np.zeros(1), 5.0, np.array([[0.25, 0.75]], np.float32), np.array([0.25, 0.75])
    )
    with Results(tmp_path, {"top": 2}, ["x", "y"], "tags", 2) as results:
        results.enter("a.wav", given)
        with pytest.raises(UserError, match="another process is writing"):
            Results(tmp_path, {"top": 2}, ["x", "y"], "tags", 2)
    (tmp_path / "predictions.csv").write_text("")
    with pytest.raises(UserError, match=r"predictions\.csv is shorter than"):
        Results(tmp_path, {"top": 2}, ["x", "y"], "tags", 2)
    with Results(tmp_path, {"top": 2}, ["x", "y"], "tags", 2, overwrite=True) as results:
        assert not results.done
        results.enter("a.wav", given)
        results.finish()
    assert document(tmp_path)["a.wav"]["ranked"] == {"y": 0.75, "x": 0.25}


def test_only_its_owner_can_hold_a_folder_of_predictions(tmp_path):
    with Results(tmp_path, {}, ["x", "y"], "tags", 2):
        assert stat.S_IMODE((tmp_path / LOCK).stat().st_mode) == 0o600
        lines = os.open(tmp_path / "predictions.jsonl", os.O_RDONLY)
        fcntl.flock(lines, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as anybody can who may read it
    Results(tmp_path, {}, ["x", "y"], "tags", 2).close()
    os.close(lines)


def test_files_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "predictions.csv").mkdir()
    with pytest.raises(UserError, match=r"inference\.out_dir=.*no folder to write to"):
        Results(tmp_path, {}, ["x", "y"], "tags", 2)


@pytest.mark.parametrize("line", [b'{"made": 3}', b'{"made": {}}', b'{"made": {}, "csv_bytes": 0}\n{"foo": 1}'])
def test_entries_that_are_none_are_named(tmp_path, line):
    (tmp_path / "predictions.jsonl").write_bytes(line + b"\n")
    with pytest.raises(UserError, match=r"predictions\.jsonl, line . is no entry of a prediction.*overwrite=True"):
        Results(tmp_path, {}, ["x", "y"], "tags", 2)


def test_what_an_earlier_run_has_kept_is_not_written_to(tmp_path):
    given = Prediction(["x", "y"], "tags", np.zeros(1), 5.0, np.array([[0.25, 0.75]]), np.array([0.25, 0.75]))
    with Results(tmp_path, {}, ["x", "y"], "tags", 2) as results:
        results.enter("a.wav", given)
    kept = tmp_path / "kept.csv"
    os.link(tmp_path / "predictions.csv", kept)
    before = kept.read_bytes()
    with Results(tmp_path, {}, ["x", "y"], "tags", 2) as results:
        results.enter("b.wav", given)
    assert kept.read_bytes() == before
    assert len(windows(tmp_path)) == 2


def test_nothing_readable_is_an_error(tmp_path, checkpoint):
    (tmp_path / "bad.wav").write_text("x")
    with pytest.raises(UserError, match=r"bad\.wav could not be predicted: "):
        call(tmp_path / "bad.wav", checkpoint, tmp_path)


def test_what_was_skipped_is_forgotten_once_it_is_read(music, checkpoint, tmp_path):
    out = tmp_path / "out"
    (music / "torn.wav").write_text("x")
    call(music, checkpoint, tmp_path, out_dir=str(out))
    kept = tmp_path / "kept.csv"
    os.link(out / "skipped.csv", kept)
    with pytest.raises(UserError, match="could not be predicted: "):
        call(music / "torn.wav", checkpoint, tmp_path, out_dir=str(out))
    sound(music / "torn.wav", 16_000, 6)
    assert call(music, checkpoint, tmp_path, out_dir=str(out))[0] == {"predicted": 1, "already": 5, "skipped": 0}
    assert not (out / "skipped.csv").exists()
    assert "torn.wav" in kept.read_text()


def test_a_file_is_no_place_for_predictions(music, checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"out_dir=.*short\.wav: no folder to write to"):
        call(music, checkpoint, tmp_path, out_dir=str(music / "short.wav"))


def test_a_hugging_face_folder_predicts_with_its_names(music, network, tmp_path):
    write_huggingface(tmp_path / "hf", network, LABELS, {"task": "tagging"})
    _, folder = call(music / "long.wav", tmp_path / "hf", tmp_path, top=4)
    assert set(document(folder)["long.wav"]["ranked"]) == set(LABELS)


def test_patchout_that_leaves_nothing_of_a_short_file_skips_it(music, checkpoint, tmp_path):
    run = RunHandle(tmp_path / "run", 0)
    run.directory.mkdir()
    settings = PretrainSettings(
        inference={"checkpoint": str(checkpoint), "audio": str(music)},
        model={"s_patchout_t_indices": [0]},
        trainer={"accelerator": "cpu"},
    )
    assert predict(settings, run) == {"predicted": 4, "already": 0, "skipped": 1}


def test_beside_a_gpu_other_processes_decode_and_nothing_changes(music, network):
    for number in range(4):
        sound(music / f"{number}.wav", 16_000, 1)
    files = audio_files.audio_named(str(music))
    one_process = list(audio_files.decoded(files, Encoder.of(network, device="cpu"), 2))
    several = list(audio_files.decoded(files, Encoder.of(network, device="cuda"), 2))
    assert [file for file, _ in several] == files
    for (_, [one]), (_, [other]) in zip(one_process, several, strict=True):
        assert np.array_equal(one.frames, other.frames)


def test_what_patchout_and_an_early_exit_save_is_said(network, monkeypatch):
    window = (312, 96)
    monkeypatch.setattr("models.cost.WORTH_SAYING", 100.0)
    assert savings(network, window, "block_00") is None
    monkeypatch.setattr("models.cost.WORTH_SAYING", 1.0)
    assert savings(network, window) is None
    assert savings(network, window, "block_01") is None
    assert savings(network, window, "block_00").startswith("nothing runs after block_00: ")
    less = MAEST(**SMALL, s_patchout_t_interleaved=2)
    assert savings(less, window).startswith("s_patchout_t_interleaved=2: ")
    assert savings(less, window, "block_00").startswith("s_patchout_t_interleaved=2, nothing runs after block_00: ")


KILLED = """
import os, signal, sys
from pathlib import Path
from experiments.inference.prediction import predict
from experiments.inference.results import Results
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle
music, checkpoint, run, out, entered, late = sys.argv[1:]
enter, left = Results.enter, int(entered)
def entered(self, *given):
    global left
    if not left and late == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found, left = enter(self, *given), left - 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
Results.enter = entered
inference = {"checkpoint": checkpoint, "audio": music, "out_dir": out, "top": 3, "batch_size": 1}
predict(PretrainSettings(inference=inference, trainer={"accelerator": "cpu"}), RunHandle(Path(run), 0))
"""


def test_a_killed_prediction_loses_no_picture(music, checkpoint, tmp_path):
    out, run = tmp_path / "out", tmp_path / "run"
    run.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"}
    for entered, late in (("1", "after"), ("1", "before")):  # of a file's entry
        command = [sys.executable, "-c", KILLED, *map(str, (music, checkpoint, run, out, entered, late))]
        assert subprocess.run(command, env=environment, timeout=120).returncode == -signal.SIGKILL
    (out / "over_time_07_of_an_older_call.png").write_bytes(b"picture")
    counts, _ = call(music, checkpoint, tmp_path, out_dir=str(out))
    assert counts == {"predicted": 2, "already": 3, "skipped": 0}
    pictures = sorted(path.name for path in out.glob("over_time_*.png"))
    assert [name.split("_")[2] for name in pictures] == ["00", "01", "02", "03", "04"]
    assert {name.split("_", 3)[3].removesuffix(".png") for name in pictures} == {
        "8_kHz", "96_kHz", "long", "short", "six_channels"
    }  # fmt: skip


def test_names_reach_tables_and_the_terminal_as_texts(checkpoint, tmp_path, capsys):
    folder = tmp_path / "music"
    folder.mkdir()
    sound(folder / "a\x1b[2J.wav", 16_000, 5.5)
    (folder / "b\x1b]0;x\x07.wav").write_bytes(b"no audio")
    call(folder, checkpoint, tmp_path)
    shown = capsys.readouterr()
    assert "a\\x1b[2J.wav" in shown.out
    assert "b\\x1b]0;x\\x07.wav" in shown.err
    assert "\x1b" not in shown.out + shown.err


def test_files_and_labels_that_look_like_formulas(network, tmp_path, monkeypatch):
    file = tmp_path / "network.safetensors"
    labels = ["=1+1", "@home", "-x", "plain"]
    save_network(file, network, {"labels": labels, "task": "tagging", "frontend": MusiCNNMel().fingerprint})
    monkeypatch.chdir(tmp_path)
    sound(tmp_path / "-song.wav", 16_000, 5.5)
    _, folder = call("-song.wav", file, tmp_path)
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as handle:
        head, row = csv.reader(handle)
    assert head[2:] == ["'=1+1", "'@home", "'-x", "plain"]
    assert row[0] == "'-song.wav"
    with (folder / "ranked.csv").open(newline="", encoding="utf-8") as handle:
        assert {line["class"] for line in csv.DictReader(handle)} <= set(head[2:])
    assert set(document(folder)["-song.wav"]["ranked"]) <= set(labels)
