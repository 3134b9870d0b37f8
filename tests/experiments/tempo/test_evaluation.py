"""The evaluation of a network of tempo: the same songs for all, and what is left with the run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datasets.beats import Beats
from datasets.corpus import Corpus, Track
from datasets.examples import Examples
from experiments.objectives import Evaluation
from experiments.tasks import Tempo, TempoRegression
from experiments.tempo import evaluation

TEMPI = np.linspace(60, 180, 24)
TASK = Tempo()


class Run:
    """What an evaluation needs of a run."""

    seed, is_global_zero = 0, True

    def __init__(self, directory: Path) -> None:
        self.directory, self.kept = directory, []

    def add_artifact(self, path: Path) -> None:
        self.kept.append(path.name)


def loaders(folder: Path | None, kind: str = "audio", beats: float | None = None) -> SimpleNamespace:
    ids = tuple(f"{number}.wav" for number in range(len(TEMPI)))
    of_beats = [{"beats": Beats(np.arange(20) * 60 / (beats * tempo))} if beats else {} for tempo in TEMPI]
    tracks = [Track(one, "test", {"genre": "rock", **more}) for one, more in zip(ids, of_beats, strict=True)]
    splits = {
        "train": Examples((), (), TASK.targets(list(TEMPI[:12]))),
        "test": Examples(ids, ids, TASK.targets(list(TEMPI)), "class"),
    }
    features = SimpleNamespace(header=SimpleNamespace(kind=kind, producer={}))
    return SimpleNamespace(
        splits=splits,
        corpus=Corpus("songs", tuple(tracks)),
        features=features,
        audio_dir=folder,
        settings=SimpleNamespace(jobs=1),
    )


def evaluated(tempi: np.ndarray) -> Evaluation:
    predictions = TASK.smooth_labels(torch.from_numpy(tempi).float()).numpy()
    return Evaluation({}, np.arange(len(tempi)), predictions, TEMPI[: len(tempi)])


@pytest.fixture
def librosa(monkeypatch):
    """Right for every second song, without audio for the last."""
    tempi = np.where(np.arange(24) % 2, TEMPI, 1.5 * TEMPI)
    tempi[-1] = np.nan
    monkeypatch.setattr(evaluation, "librosa_tempi", lambda *_: tempi)


def test_every_row_is_scored_on_the_same_songs(librosa, tmp_path, capsys):
    run = Run(tmp_path)
    found = evaluation.beside_baselines(
        "ours", TASK, evaluated(TEMPI + 0.3), evaluated(TEMPI), loaders(None, beats=1.01), run
    )
    table, said = capsys.readouterr()
    assert "accuracies differ a little from test/accuracy1 and test/accuracy2, which are of the most probable" in said
    assert found["test/librosa/accuracy1"] == pytest.approx(11 / 23)  # 24 songs, one of them without audio
    assert found["test/annotated_beats/accuracy1"] == 1
    assert "23 songs" in said
    assert "1 song left out" in said
    assert "Accuracy1: within 4 % of the reference" in said
    assert [line.split("  ")[0] for line in table.splitlines() if "(" in line and "." in line][:1] == ["ours"]
    names = {
        "comparison.csv",
        "comparison.json",
        "songs.csv",
        "confidence.csv",
        "scatter.png",
        "octaves.png",
        "where_right.png",
    }
    assert set(run.kept) == {f"tempo_{name}" for name in names}
    assert all((tmp_path / name).stat().st_size > 0 for name in run.kept)


def test_tempi_that_are_those_of_the_beats_are_not_compared_with_themselves(librosa, tmp_path):
    found = evaluation.beside_baselines("ours", TASK, evaluated(TEMPI), None, loaders(None, beats=1.0), Run(tmp_path))
    assert {name.split("/")[1] for name in found} == {"librosa", "constant"}


def test_without_audio_there_is_no_librosa_and_that_is_said(tmp_path, capsys):
    found = evaluation.beside_baselines("ours", TASK, evaluated(TEMPI), None, loaders(None, "mel"), Run(tmp_path))
    assert "librosa is left out" in capsys.readouterr().err
    assert [name for name in found if "librosa" in name] == []
    assert len(found) == 2


def test_values_have_no_confidence_of_a_whole_track(librosa, tmp_path):
    task, run = TempoRegression([7], [1]), Run(tmp_path)
    predictions = Evaluation({}, np.arange(24), TEMPI[:, None].astype(np.float32), TEMPI)
    evaluation.beside_baselines("ours", task, predictions, predictions, loaders(None), run)
    assert "tempo_confidence.csv" not in run.kept
    assert "tempo_scatter.png" in run.kept
