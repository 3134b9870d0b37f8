"""A task of the user's own, whose targets are frames: sections of a recording with music in them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from datasets.corpus import Corpus, CorpusError, Track
from datasets.examples import require_nonempty
from datasets.targets import FrameTargets
from datasets.time_grid import TimeGrid
from experiments import own_modules
from experiments.errors import UserError
from experiments.intervals import interval
from experiments.settings import DatamoduleSettings
from experiments.tasks import Task, build, find, from_metadata
from experiments.tasks.checks import as_float32
from experiments.tracks.examples import examples

NAME = f"{__name__}:Music"
RATE = 10  # frames a second


def frame_times(n: int) -> np.ndarray:
    return np.arange(n) / RATE


class Music(Task):
    """Where there is music. An annotation is "length; start-end, start-end", seconds."""

    name = "music"
    annotations = ("meter",)
    kind = "tags"
    classes = ("music",)
    primary = "accuracy"
    clip_level = False

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self.options = {"threshold": threshold}

    def encode(self, annotation, times=frame_times):
        try:
            length, _, sections = annotation.partition(";")
            at = times(round(float(length) * RATE))
            target = np.zeros((len(at), 1), np.float32)
            for section in sections.split(","):
                start, end = map(float, section.split("-"))
                target[(at >= start) & (at < end)] = 1
        except ValueError:
            raise UserError(f"music: {annotation!r} cannot be read; expected 'length; start-end'") from None
        return target

    def targets(self, annotations):
        return FrameTargets([self.encode(one, self.grid.times) for one in annotations])

    def loss(self, outputs, targets, mask=None):
        each = torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")[..., 0]
        return (each * mask).sum() / mask.sum()

    def decode(self, outputs):
        return 1 / (1 + np.exp(-as_float32(outputs)))

    def join(self, predictions, starts=None, how="mean", frames=None):
        """Frames side by side, and the mean where windows overlap."""
        whole = np.zeros((starts[-1] + predictions.shape[1], *predictions.shape[2:]))
        count = np.zeros(len(whole))
        for window, start in zip(predictions, starts, strict=True):
            whole[start : start + len(window)] += window
            count[start : start + len(window)] += 1
        return whole / count[:, None]

    def score(self, predictions, references):
        pairs = list(zip(predictions, references, strict=True))
        correct = [((one[: len(other)] > self.threshold) == (other > 0.5)).mean() for one, other in pairs]
        return {"accuracy": float(np.mean(correct)), "n_items": float(len(pairs))}


@pytest.fixture
def nobody_named(monkeypatch):
    monkeypatch.setattr(own_modules, "_named", set())


CORPUS = Corpus(
    "songs",
    (Track("a", "train", {"meter": "2; 0.5-1.5"}), Track("b", "train", {"meter": "1;0-0.3,0.8-1"})),
)


def test_from_annotations_to_the_score_of_whole_tracks():
    task = Music().on(TimeGrid(RATE))
    split = examples(task, CORPUS, {"a": "a", "b": "b"})["train"]
    assert (len(split), len(split.crops)) == (2, 2)
    require_nonempty({"train": split}, "train")
    crops = [split.crops.crop(track, start, 8) for track, start in ((0, 0), (0, 8), (1, 6))]
    target, mask = (torch.from_numpy(np.stack([crop[name] for crop in crops])) for name in ("target", "mask"))
    assert mask.sum(1).tolist() == [8, 8, 4]
    assert target[2, :, 0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    outputs = 20 * (target - 0.5)
    outputs[2, 4:] = 99.0  # frames that the track does not have
    assert float(task.loss(outputs, target, mask)) < 1e-3
    references = [split.crops.whole(track) for track in range(2)]
    starts = ([0, 6, 12], [0, 2])
    windows = [
        task.decode(np.stack([20 * (reference[start : start + 8] - 0.5) for start in of_track]))
        for reference, of_track in zip(references, starts, strict=True)
    ]
    joined = [task.join(one, of_track) for one, of_track in zip(windows, starts, strict=True)]
    assert [one.shape for one in joined] == [(20, 1), (10, 1)]
    assert task.score(joined, references) == {"accuracy": 1.0, "n_items": 2.0}
    assert task.primary_score([joined[0], 1 - joined[1]], references) == 0.5


def test_vectors_of_a_track_have_no_target_over_time():
    split = examples(Music().on(TimeGrid(RATE)), CORPUS, {"a": "a", "b": "b"})["train"]
    with pytest.raises(CorpusError, match="one target a track is needed"):
        _ = split.targets


def test_a_track_whose_annotation_cannot_be_read_is_named():
    broken = Corpus("songs", (*CORPUS.tracks, Track("c", "train", {"meter": "4/4"})))
    with pytest.raises(UserError, match=r"c \(train\): music: '4/4' cannot be read"):
        examples(Music().on(TimeGrid(RATE)), broken, {"a": "a", "b": "b", "c": "c"})


def test_a_class_that_the_user_names_is_a_task_of_settings_and_of_files(nobody_named):
    file = json.loads(json.dumps(Music(0.7).metadata))
    assert file == {"task": NAME, "labels": ["music"], "options": {"threshold": 0.7}}
    with pytest.raises(UserError, match=f"module {__name__}, which is only imported where you name it yourself"):
        from_metadata(file["task"], file["labels"], file["options"])
    with pytest.raises(UserError, match="only imported"):
        find(NAME, typed=False)
    assert type(from_metadata(file["task"], file["labels"], file["options"], allowed={__name__})) is Music
    assert DatamoduleSettings(task=NAME).task == NAME
    assert build(NAME, threshold=0.6).threshold == 0.6
    again = from_metadata(file["task"], file["labels"], file["options"])
    assert type(again) is Music
    assert again.threshold == 0.7


def test_a_class_that_is_no_task_is_refused(nobody_named, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("class NotATask: pass")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"task mine:NotATask is no subclass of experiments\.tasks\.base\.Task"):
        find("mine:NotATask")
    with pytest.raises(UserError, match=r"task .*Missing"):
        find("mine:Missing")
    with pytest.raises(UserError, match=r"task 'mine:' does not name a class"):
        find("mine:")
    sys.modules.pop("mine", None)


class Loud(Task):
    """The least that a task of clips must define."""

    name, annotations, kind, primary = "loud", ("tempo",), "values", "error"
    classes = ("loudness",)
    options: dict = {}  # noqa: RUF012

    def encode(self, annotation):
        return np.array(annotation, np.float32)

    def loss(self, outputs, targets):
        return ((outputs[:, 0] - targets) ** 2).mean()

    def decode(self, outputs):
        return as_float32(outputs)

    def score(self, predictions, references):
        return {"error": -float(np.abs(predictions[:, 0] - references).mean()), "n_items": float(len(references))}


def test_what_a_task_does_not_define_has_a_default():
    task = Loud()
    targets = task.targets([3.0, 4.0, 5.0])
    assert targets.crop(1, 0, 9)["target"] == 4
    assert task.targets([]).array.shape == (0, 1)
    predictions, references = np.array([[3.0], [5.0], [5.0]], np.float32), targets.array
    assert task.primary_score(predictions, references) == pytest.approx(-1 / 3)
    systems = torch.from_numpy(np.stack([predictions, predictions + 1]))
    assert task.primary_scores(systems, torch.from_numpy(references)).tolist() == pytest.approx([-1 / 3, -4 / 3])
    assert task.score_per_class(predictions, references) == {}
    assert (task.confusion(predictions, references), task.strata(references)) == (None, None)
    assert (task.measured([1.0]), task.implausible([1.0])) == ({}, {})
    low, high = interval(task, predictions, references, n=50)["error"]
    assert -1 <= low <= high <= 0
