"""From clicks to scored beats, by the commands a user types: a small network over time learns eight clips."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from datasets.beat_files import read_beats
from datasets.beats import Beats
from datasets.time_grid import TimeGrid
from experiments.encoder import Encoder
from experiments.objectives import Evaluation
from experiments.settings import RhythmSettings
from experiments.tasks import find
from experiments.training import beat_decoders
from models.frontends import FrontEnd
from models.layouts import load_pickled, write_pickled
from models.network import Network

ROOT = Path(__file__).resolve().parents[3]
RATE, HOP, SECONDS = 4000, 80, 10.0  # 50 frames a second
LOW, HIGH = 440.0, 1400.0  # Hz, of beats and of downbeats
NETWORK = f"model.network={__name__}:Small"
DATA = ["datamodule.base_dir=music", "datamodule.groundtruth=tracks.csv", "datamodule.jobs=1"]
TRAINING = [
    NETWORK,
    *DATA,
    "trainer.max_epochs=30",
    "trainer.monitor=metric",
    "module.optimizer.lr=0.02",
    "module.mixup_alpha=0",
    "datamodule.masking.do=False",
    "datamodule.batch_size_train=4",
]


class TwoBands(FrontEnd):
    """Levels around two frequencies, dB."""

    units, item_shape, fill, mean, std = "dB", (2,), -60.0, -45.0, 10.0

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.context = RATE, HOP, HOP
        angles = 2 * torch.pi * torch.arange(2 * HOP) / RATE
        window = torch.hann_window(2 * HOP)
        waves = torch.stack([wave(angles * tone) for tone in (LOW, HIGH) for wave in (torch.cos, torch.sin)])
        self.register_buffer("waves", (window * waves / HOP).T.contiguous(), persistent=False)

    def forward(self, audio):
        self.check(audio)
        frames = nn.functional.pad(audio, (HOP, HOP)).unfold(-1, 2 * HOP, HOP)
        power = (frames @ self.waves).square().unflatten(-1, (2, 2)).sum(-1)
        return 10 * torch.log10(power.clamp(min=1e-6))[..., : self.n_frames(audio.shape[-1]), :]


class Small(Network):
    """Two convolutions over time."""

    frontend, seconds, over_time, margin = TwoBands, 6.0, True, 6
    layer_names, min_frames = ("hidden",), 20

    def __init__(self, n_classes: int, width: int = 12) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.body = nn.Sequential(nn.Conv1d(2, width, 5, padding=2), nn.ReLU())
        self.head = nn.Conv1d(width, n_classes, 3, padding=1)

    def embed(self, x, layers):
        return {"hidden": self.body(x.transpose(1, 2)).transpose(1, 2)}

    def forward(self, x):
        return self.head(self.body(x.transpose(1, 2))).transpose(1, 2)


def clip(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten seconds of clicks, and `[beats, 2]` of their times and positions."""
    rng = np.random.default_rng(number)
    interval, metre = rng.uniform(0.35, 0.8), 3 + number % 2
    times = np.arange(rng.uniform(0.1, 0.4), SECONDS - 0.2, interval)
    positions = np.arange(len(times)) % metre + 1
    samples = 1e-3 * rng.standard_normal(round(SECONDS * RATE))
    decay = np.exp(-np.arange(400) / 60)
    for time, position in zip(times, positions, strict=True):
        first = round(time * RATE)
        tone = HIGH if position == 1 else LOW
        samples[first : first + 400] += 0.5 * decay * np.sin(2 * np.pi * tone * np.arange(400) / RATE)
    return samples, np.stack([times, positions], 1)


def run(*words: str, script: str = "ex_transfer", command: tuple[str, ...] = ()) -> dict:
    module = __import__(script)
    return module.ex.run_commandline([str(ROOT / f"{script}.py"), *command, "with", *words, "tracking.mongo=off"])


@pytest.fixture(scope="module", autouse=True)
def trained(tmp_path_factory):
    """The folder of the music, and what a training said of its test; it takes 30 epochs of eight clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("clicks"))
        rows = []
        for number in range(8):
            samples, beats = clip(number)
            place = Path("music") / "ab"[number % 2] / f"{number}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, samples, RATE)
            known = beats.tolist() if number != 3 else beats[:, 0].tolist()  # of one nobody annotated downbeats
            rows += [(place.relative_to("music").as_posix(), "train", json.dumps(known), "ab"[number % 2])]
        for split in ("valid", "test"):  # the same music again: what is asked is whether it can be learned
            for name, _, known, corpus in rows[:8]:
                again = Path("music") / split / name
                again.parent.mkdir(parents=True, exist_ok=True)
                again.write_bytes((Path("music") / name).read_bytes())
                rows.append((f"{split}/{name}", split, known, corpus))
        with Path("tracks.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "split", "beats", "corpus"), *rows])
        yield run(*TRAINING, "datamodule.task=beats")


def refused(capsys, *words: str, **which: Any) -> str:
    """What a command says that ends with an error."""
    with pytest.raises(SystemExit):
        run(*words, **which)
    return capsys.readouterr().err


def newest(name: str) -> Path:
    return max(Path("runs").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns)


def checkpoint() -> Path:
    return newest("checkpoints/best.ckpt")


def test_clicks_are_learned_to_the_last_with_no_delay(trained):
    assert trained["test/f1"] == trained["test/beat_f1"] == trained["test/downbeat_f1"] == 1
    assert abs(trained["test/beat_error"]) < 0.5 * HOP / RATE
    assert trained["test/n_downbeats_unknown"] == 1
    assert trained["val/f1"] > 0.95
    assert {"test/dbn/beat_f1", "test/dbn/downbeat_cmlt"} <= set(trained) or "test/peaks/beat_f1" in trained


def test_metrics_of_the_test_are_those_of_the_result(trained):
    lines = map(json.loads, newest("journal.jsonl").read_text().splitlines())
    logged = {line["name"]: line["points"][-1][1] for line in lines if line["kind"] == "metrics"}
    for name in ("test/f1", "test/beat_cmlt", "test/tempo_jumps"):
        assert logged[name] == pytest.approx(trained[name])


@pytest.mark.parametrize("best", [None, "peaks", "dbn"])
def test_a_test_is_decoded_as_settings_say_else_as_validation_chose(best):
    settings, task = RhythmSettings(), find("beats")()
    assert beat_decoders.compared(settings, best) == (("dbn", "peaks") if best == "dbn" else ("peaks", "dbn"))
    assert beat_decoders.in_the_test(task, settings, best).decoding.name == (best or "peaks")
    assert beat_decoders.in_the_test(task, RhythmSettings(decoder="online"), best).decoding.name == "online"


@pytest.mark.parametrize("decoder", [["peaks"], ["dbn"], ["online"], None])
@pytest.mark.parametrize("name", ["beats", "beats_widened"])
def test_the_delay_of_peaks_is_measured_whichever_decoders_are_named(decoder, name, tmp_path):
    grid = TimeGrid(50.0)
    song = Beats(np.arange(0.3, 20, 0.5), np.arange(40) % 4 + 1)
    curves = np.full((1000, 2), 0.01, np.float32)
    for column, times in enumerate((song.times, song.downbeats)):
        curves[grid.nearest(times) + 2, column] = 0.95
    rhythm, file = RhythmSettings(decoder=decoder), tmp_path / "best.ckpt"
    task = beat_decoders.in_the_loop(find(name)().on(grid), rhythm)
    learner = SimpleNamespace(
        objective=SimpleNamespace(task=task), evaluation=None, CHECKPOINT_HYPER_PARAMS_KEY="about"
    )
    found = Evaluation({}, np.arange(1), [curves], [song])
    trainer = SimpleNamespace(
        loggers=["curves"],
        validate=lambda *_, **__: setattr(learner, "evaluation", found),
        is_global_zero=True,
        strategy=SimpleNamespace(barrier=lambda: None),
    )
    write_pickled(file, {"about": {"decoder": None}})
    expected = pytest.approx(0.04 if name == "beats" else 0.0, abs=2e-3)
    for _ in range(2):  # the second time changes nothing
        best = beat_decoders.choose(learner, None, trainer, rhythm, file)
        assert best in (decoder or ["peaks", "dbn"])
        about = load_pickled(file)["about"]
        assert about["decoder"] == best
        assert (about.get("options", {}).get("delay", 0.0), task.delay) == (expected, expected)
    assert trainer.loggers == ["curves"]


def test_the_decoder_that_validation_chose_is_noted_with_the_weights():
    content = load_pickled(checkpoint())
    assert content["hyper_parameters"]["decoder"] in ("peaks", "dbn")
    encoder = Encoder.load(str(checkpoint()), allowed={__name__})
    assert encoder.task.decoding.name == content["hyper_parameters"]["decoder"]
    samples, beats = clip(0)
    found = encoder.predict(samples.astype(np.float32), RATE).events
    assert np.abs(found.times - beats[:, 0]).max() < 0.03
    assert found.positions.tolist() == beats[:, 1].astype(int).tolist()
    content["hyper_parameters"]["decoder"] = "pickle"
    write_pickled(Path("changed.ckpt"), content)
    with pytest.raises(ValueError, match="decoder is 'pickle', expected one of peaks, dbn"):
        Encoder.load("changed.ckpt", allowed={__name__})


def test_an_evaluation_compares_decoders_and_corpora(capsys):
    words = [NETWORK, f"inference.checkpoint={checkpoint()}", *DATA, "rhythm.decoder=peaks,dbn"]
    result = run(*words, command=("evaluate",))
    assert result["test/beat_f1"] == 1
    assert result["test/dbn/beat_amlt"] > 0.9
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if line.startswith(("peaks, ", "dbn, "))]
    assert [line.split("  ")[0] for line in lines[:4]] == [
        "peaks, a, beats",
        "peaks, a, downbeats",
        "peaks, b, beats",
        "peaks, b, downbeats",
    ]
    assert len(lines) == 2 * 2 * 4
    assert "peaks, mean of corpora, beats" in shown
    assert "1 not annotated" in shown
    document = json.loads(newest("beats_test.json").read_text())
    assert document["tracks"] == 8
    rows = {(row["decoder"], row["corpus"]): row for row in document["rows"]}
    assert set(rows) == {(one, two) for one in ("peaks", "dbn") for two in ("a", "b", "mean of corpora", "all tracks")}
    low, high = rows["peaks", "all tracks"]["ends"]["beat_f1"]
    assert 0.5 < low < high == 1
    with newest("beats_test.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 16
    assert table[0]["track"] == "test/a/0.wav"
    assert float(table[0]["beat_f1"]) == 1
    assert newest("beats_test.png").stat().st_size > 1000
    written = read_beats(newest("predictions_test/test/a/0.beats")).beats
    assert np.abs(written.times - clip(0)[1][:, 0]).max() < 0.03


def test_files_beside_audio_are_read_for_the_task_of_the_checkpoint_and_may_all_be_test(capsys):
    for number in range(3):
        samples, beats = clip(number)
        place = Path("elsewhere/songs") / f"{number}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, samples, RATE)
        place.with_suffix(".beats").write_text("".join(f"{time:.3f} {position:.0f}\n" for time, position in beats))
    words = [NETWORK, f"inference.checkpoint={checkpoint()}", "datamodule.base_dir=elsewhere/songs"]
    result = run(*words, "datamodule.split_shares=[0,0,1]", command=("evaluate",))
    assert (result["test/n_items"], result["test/beat_f1"]) == (3, 1)
    assert "splits by a hash of the path: 0 train, 0 valid, 3 test" in capsys.readouterr().err
    words = [NETWORK, "datamodule.task=beats", "datamodule.base_dir=elsewhere/songs", "datamodule.split_shares=[0,0,1]"]
    assert "no tracks in split train" in refused(capsys, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rhythm.decoder=[peaks,peaks]"], "give each once"),
        (["rhythm.decoder=viterbi"], "peaks"),
        (["rhythm.min_bpm=200", "rhythm.max_bpm=100"], "the first must be the smaller"),
        (["rhythm.bars=[4]", "rhythm.bar_priors=[0,0]"], "give one for each"),
        (["rhythm.pinned=known.beats"], "is for one recording"),
        (["inference.join=max"], "lie side by side"),
        (["inference.threshold=0.5"], "inference.threshold is for tags"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message, capsys):
    words = [NETWORK, f"inference.checkpoint={checkpoint()}", *DATA, *words]
    assert message in refused(capsys, *words, command=("evaluate",))


def test_stores_and_probes_have_no_place_for_points_in_time(capsys):
    words = [NETWORK, f"inference.checkpoint={checkpoint()}", *DATA]
    said = refused(capsys, *words, script="ex_pretrain", command=("extract_logits",))
    assert "a store of logits holds one output a recording, and beats is about points in time" in said
    run(*words, "inference.out_dir=stored", script="ex_pretrain", command=("extract_embeddings",))
    (store,) = Path("stored").iterdir()
    said = refused(capsys, f"embeddings.store={store}", *DATA, "probe.tasks=[beats]", script="ex_probe")
    assert "a probe has one output a recording" in said
    said = refused(capsys, f"embeddings.store={store}", *DATA, "datamodule.task=beats")
    assert "a probe has one output a recording" in said


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_a_network_over_time_is_exported(form):
    file = f"exported.{form}"
    words = [NETWORK, f"inference.checkpoint={checkpoint()}", f"export.format={form}", f"export.path={file}"]
    run(*words, command=("export",))
    assert Path(file).stat().st_size > 1000
    if form == "safetensors":
        noted = load_pickled(checkpoint())["hyper_parameters"]["decoder"]
        assert Encoder.load(file, allowed={__name__}).decoder == noted
