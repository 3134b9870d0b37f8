"""Evaluation on changed audio, by the command a user types, on tones that a network of ours tells apart."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
import torch

from datasets.store import Store
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.robustness import evaluation
from experiments.settings.robustness import Kinds
from experiments.tasks import build
from models.checkpoints import save_network
from models.maest import MAEST
from models.perturbations import PERTURBATIONS, apply
from tests.models.toys import Toy

ROOT = Path(__file__).resolve().parents[3]
TOY, RATE, TRACKS = "tests.models.toys:Toy", 8000, 12
DATA = ["datamodule.base_dir=music", "datamodule.groundtruth=tracks.csv", "datamodule.task=genre", "datamodule.jobs=1"]
WORDS = [f"model.network={TOY}", "inference.checkpoint=toy.safetensors", *DATA, "robustness.resamples=10"]


def run(*words: str, command: str = "evaluate") -> dict:
    from ex_transfer import ex

    return ex.run_commandline([str(ROOT / "ex_transfer.py"), command, "with", *words, "tracking.mongo=off"])


def newest(name: str) -> Path:
    return max(Path("runs").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Twelve tones, loud and quiet, and a network that has seen none of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("robust"))
        Path("music").mkdir()
        rows = []
        for number in range(TRACKS):
            samples = np.random.default_rng(number).standard_normal(RATE + 500 * number) * 10.0 ** -(1 + number % 3)
            soundfile.write(f"music/{number}.wav", samples.clip(-1, 1), RATE, subtype="FLOAT")
            rows.append((f"{number}.wav", "xyz"[number % 3], "test"))
        with Path("tracks.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "genre", "split"), *rows])
        torch.manual_seed(0)
        task = build("genre", classes=["x", "y", "z"])
        encoder = Encoder.of(Toy(3), task=task, input="audio", window=80, device="cpu")
        save_network("toy.safetensors", encoder.network, encoder.description, encoder.frontend)
        small = Encoder.of(MAEST(n_classes=3, n_frames=32, dim=16, depth=1, heads=2), task=task, device="cpu")
        save_network("maest.safetensors", small.network, small.description)
        yield


def test_the_kinds_are_those_of_the_table():
    (kinds,) = get_args(get_args(Kinds)[0])
    assert get_args(kinds) == tuple(PERTURBATIONS)
    assert len(evaluation.changes("all")) == sum(map(len, PERTURBATIONS.values()))
    assert evaluation.changes(["noise", "pitch"]) == [*PERTURBATIONS["noise"], *PERTURBATIONS["pitch"]]
    assert evaluation.changes(None) == []


def test_scores_of_every_change_are_compared_with_clean_ones(capsys):
    plain = run(*WORDS)
    result = run(*WORDS, "robustness.perturbations=all")
    names = [evaluation.CLEAN, *evaluation.changes("all")]
    metrics = {name.partition("/")[2] for name in result}
    assert set(result) == {f"{name}/{metric}" for name in names for metric in metrics}
    assert {f"clean/{metric}" for metric in metrics} == {f"clean/{key[5:]}" for key in plain if "n_" not in key}
    for metric in metrics:
        assert result[f"clean/{metric}"] == pytest.approx(plain[f"test/{metric}"])
    rows = {
        (row["perturbation"], row["metric"]): row
        for row in json.loads(newest("robustness_table.json").read_text())["rows"]
    }
    assert set(rows) == {(name, metric) for name in names for metric in metrics}
    for (name, metric), row in rows.items():
        if name == "clean":
            continue
        assert row["difference"] == pytest.approx(row["score"] - result[f"clean/{metric}"])
        assert row["low"] <= row["difference"] <= row["high"]
    with newest("robustness_table.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    assert newest("robustness.png").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


def test_predictions_are_those_of_the_changed_audio():
    run(*WORDS, "robustness.perturbations=[compression]", "inference.out_dir=kept")
    (audio,) = Path("outputs/audio").iterdir()
    store, encoder = Store(audio), Encoder.load("toy.safetensors", allowed={"tests.models.toys"}, device="cpu")
    ids = [f"{number}.wav" for number in range(TRACKS)]
    for name in PERTURBATIONS["compression"]:
        stored = np.load(f"kept/predictions_{name}.npy", allow_pickle=False)
        for identity, values in zip(sorted(ids), stored[np.argsort(ids)], strict=True):
            samples = np.array(store.read(identity)).astype(np.float32) / 32768
            changed = apply(name, samples, RATE, identity)
            if len(changed) >= 79 * 100:
                np.testing.assert_allclose(values, encoder.predict(changed, RATE).whole, atol=1e-4)


def test_it_goes_on_where_it_was_stopped(monkeypatch):
    whole = run(*WORDS, "robustness.perturbations=[noise]", "inference.out_dir=whole")
    changed, seen = evaluation._predicted, []

    def killed(trial, name, advance):
        if name == "noise_0.2":
            raise KeyboardInterrupt
        return changed(trial, name, advance)

    monkeypatch.setattr(evaluation, "_predicted", killed)
    with pytest.raises(BaseException):  # noqa: B017,PT011  # how a run ends that was interrupted
        run(*WORDS, "robustness.perturbations=[noise]", "inference.out_dir=stopped")
    monkeypatch.setattr(evaluation, "_predicted", lambda *given: seen.append(given[1]) or changed(*given))
    assert run(*WORDS, "robustness.perturbations=[noise]", "inference.out_dir=stopped") == whole
    assert seen == ["noise_0.2", "noise_0.4"]


def test_processes_give_the_same():
    """Takes as long as processes need to import torch."""
    alone = run(*WORDS, "robustness.perturbations=[time_stretch]")
    assert run(*WORDS, "robustness.perturbations=[time_stretch]", "datamodule.jobs=2") == alone


def test_a_network_of_features_sees_the_features_of_changed_audio():
    result = run(*DATA, "inference.checkpoint=maest.safetensors", "robustness.perturbations=[pitch]")
    assert {"clean/accuracy", "pitch_up_1/accuracy"} <= result.keys()
    plain = run(*DATA, "inference.checkpoint=maest.safetensors", "inference.windows=1")
    ours = run(
        *DATA, "inference.checkpoint=maest.safetensors", "inference.windows=1", "robustness.perturbations=[pitch]"
    )
    assert ours["clean/accuracy"] == plain["test/accuracy"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["robustness.perturbations=[echo]"], "time_stretch"),
        (["robustness.perturbations=[]"], "perturbations"),
        (
            ["robustness.perturbations=[noise]", "inference.out_dir=other", "inference.join=max"],
            "of another evaluation",
        ),
        (["robustness.perturbations=[noise]", "datamodule.base_dir=mels"], "change audio, and mels holds mel"),
    ],
)
def test_what_cannot_be_is_said(words, message, capfd):
    from preprocess import build_store

    if not Path("mels").exists():
        build_store("music", "mels", jobs=1, progress=False)
        run(*WORDS, "robustness.perturbations=[noise]", "inference.out_dir=other")
    with pytest.raises(SystemExit):
        run(*WORDS, *words)
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_track_that_is_too_short_for_a_change_is_left_out_of_all(monkeypatch, capfd):
    def shortened(name, audio, rate, track):
        return audio[:0] if track == "3.wav" else audio

    monkeypatch.setattr(evaluation, "apply", shortened)
    result = run(*WORDS, "robustness.perturbations=[pitch]")
    assert result["clean/accuracy"] == result["pitch_up_1/accuracy"]
    said = capfd.readouterr().err
    assert "left out, pitch_up_1: 3.wav" in said
    assert "1 track is left out of all scores" in said
    assert json.loads(newest("robustness_table.json").read_text())["tracks"] == TRACKS - 1


def test_nothing_left_is_an_error(monkeypatch):
    monkeypatch.setattr(evaluation, "apply", lambda name, audio, rate, track: audio[:0])
    with pytest.raises((SystemExit, UserError)):
        run(*WORDS, "robustness.perturbations=[pitch]")
