"""Tasks without a vocabulary, by the commands that are typed: training, test, report and predictions."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from experiments.tasks.key import CLASSES

ROOT = Path(__file__).resolve().parents[1]
OFF = "tracking.mongo=off"
METRICS = {
    "key": {"weighted_score", "accuracy"},
    "emotion": {"r2", "r2_arousal", "r2_valence"},
    "tempo": {"accuracy1", "accuracy2"},
    "tempo_regression": {"accuracy1", "accuracy2"},
}
CONSTANT = {"test/constant/accuracy1", "test/constant/accuracy2"}
BASELINES = {"tempo": CONSTANT, "tempo_regression": CONSTANT}  # beside a test alone; librosa's needs audio


def run(*arguments: str) -> dict:
    """Run `python ex_pretrain.py arguments` in this process; its result."""
    from ex_pretrain import ex

    return ex.run_commandline([str(ROOT / "ex_pretrain.py"), *arguments])


def newest() -> Path:
    """The folder of the last run."""
    return max(Path("runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


@pytest.fixture(scope="module", autouse=True)
def home(tiny_corpus, tiny_mels, tmp_path_factory):
    """A working directory."""
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def data(tiny_corpus, tiny_mels) -> list[str]:
    return [f"datamodule.base_dir={tiny_mels}", f"datamodule.groundtruth={tiny_corpus / 'tracks.csv'}"]


@pytest.mark.parametrize("task", list(METRICS))
def test_trained_evaluated_and_used_on_a_file(task, data, tiny_corpus, capsys):
    few = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", f"trainer.checkpoint_dir=weights_{task}"]
    trained = run(
        "with", "maest_5s_random_weights_pretrain", "debug", OFF, f"datamodule.task={task}", *data, *few
    )  # fmt: skip
    assert {f"test/{metric}" for metric in METRICS[task]} <= set(trained)
    left = {path.name for path in newest().iterdir()}
    assert {"per_class_test.csv", "per_class_test.png", "predictions_test.csv"} <= left
    best = f"inference.checkpoint=weights_{task}/best.ckpt"
    again = run("test", "with", "debug", OFF, best, *data)
    measured = {name: value for name, value in trained.items() if name.startswith("test/")}
    assert {name: again[name] for name in measured} == pytest.approx(measured)
    assert again.keys() - measured.keys() == BASELINES.get(task, set())
    capsys.readouterr()
    song = tiny_corpus / "audio" / "00003.flac"
    run("predict", "with", "debug", OFF, best, f"inference.audio={song}", f"inference.out_dir=predicted_{task}")
    (prediction,) = json.loads(Path(f"predicted_{task}/predictions.json").read_text())
    values = prediction.get("values", prediction.get("ranked"))
    if task == "key":
        assert set(values) <= set(CLASSES)
        assert list(values.values()) == sorted(values.values(), reverse=True)
    elif task == "emotion":
        assert list(values) == ["arousal", "valence"]
        assert all(1 < value < 9 for value in values.values())  # near the training mean after two steps
    else:
        bpm = values["BPM"] if task == "tempo_regression" else float(next(iter(values)).removesuffix(" BPM"))
        assert 30 <= bpm <= 285


def test_a_training_without_beats_refuses_settings_of_decoders(data, capsys):
    with pytest.raises(SystemExit):
        run("with", "maest_5s_random_weights_pretrain", "debug", OFF, "datamodule.task=tempo", *data, "rhythm.bars=[3]")
    assert "rhythm.bars=[3] has no effect on a training of the task tempo: leave it out" in capsys.readouterr().err


def test_the_report_on_a_corpus_counts_keys_and_ranges(data, tiny_corpus, capsys):
    run("describe", "with", OFF, "datamodule.task=key", *data)
    printed = capsys.readouterr().out
    assert "40 tracks with key" in printed
    assert "labels (key class) without a track in train: cannot be learned" in printed
    assert re.search(r"^tempo: 40 tracks, \d+(\.\d+)? to \d+", printed, re.MULTILINE)
    with (newest() / "corpus_tracks.csv").open(newline="") as handle:
        first = next(csv.DictReader(handle))
    with (tiny_corpus / "tracks.csv").open(newline="") as handle:
        assert next(csv.DictReader(handle))["key"] == first["key"]
    run("describe", "with", OFF, "datamodule.task=emotion", *data)
    printed = capsys.readouterr().out
    assert "low arousal, high valence" in printed
    assert "2 values a track" in printed
    assert re.search(r"^key: 40 tracks, \d+ different$", printed, re.MULTILINE)


def test_an_unreadable_key_is_named_reported_and_dropped_on_request(tiny_corpus, tiny_mels, capsys):
    table = (tiny_corpus / "tracks.csv").read_text().splitlines()
    head = table[0].split(",")
    at = head.index("key")
    rows = [line.split(",") for line in table[1:]]
    rows[4][at] = "H mixolydian"
    Path("keys.csv").write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n")
    words = [f"datamodule.base_dir={tiny_mels}", "datamodule.groundtruth=keys.csv", "datamodule.task=key", OFF]
    small = ["maest_5s_random_weights_pretrain", "debug", "trainer.max_epochs=1", "trainer.limit_train_batches=1"]
    with pytest.raises(SystemExit):
        run("with", *small, *words)
    assert "'H mixolydian' is none of the 24" in capsys.readouterr().err
    run("describe", "with", *words)
    assert "1 track has a key that cannot be read" in capsys.readouterr().out
    run("with", *small, *words, "datamodule.unknown_labels=drop")
    assert "leaves out 1 track without a readable key: H mixolydian" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("with", *small, *words, "datamodule.unknown_labels=drop", "datamodule.max_unmatched=0")
    assert "max_unmatched=0: 1 of 40 tracks (2.5%) is without key" in capsys.readouterr().err
    assert (newest() / "unmatched_key.csv").is_file()
