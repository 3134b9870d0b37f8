"""Few-shot subsets of the splits of every task, and warnings of classes with few tracks."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.probes.splits import LabelledTracks, few_shot_subset, warn_of_underrepresented_classes
from experiments.probes.vectors import Split
from experiments.tasks import build
from experiments.tracks.strata import membership

TASKS = {
    "tagging": build("tagging", classes=["a", "b", "c"]),
    "genre": build("genre", classes=["a", "b", "c"]),
    "key": build("key"),
    "emotion": build("emotion", mean=[0, 0], scale=[1, 1]),
    "tempo": build("tempo"),
    "tempo_regression": build("tempo_regression", mean=[7], scale=[1]),
}


def targets_of(name: str, n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if name == "tagging":
        return (random.random((n, 3)) < 0.3).astype(np.float32)
    if name in ("genre", "key"):
        return random.integers(0, 3, n)
    if name == "emotion":
        return random.normal(size=(n, 2)).astype(np.float32)
    return random.uniform(50, 200, n).astype(np.float32)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("size", [{"shots": 2}, {"share": 0.3}])
def test_a_subset_of_every_task_has_every_class(name, size):
    task, y = TASKS[name], targets_of(name, 40, 0)
    split = Split(np.zeros((40, 1), np.float32), y, [f"track {row}" for row in range(40)])
    small = few_shot_subset(task, split, seed=1, **size)
    rows = [split.ids.index(identity) for identity in small.ids]
    np.testing.assert_array_equal(small.y, y[rows])
    member, _ = membership(task, y)
    assert (member[rows].any(axis=0) == member.any(axis=0)).all()
    assert len(small.ids) < 40


def test_a_split_keeps_its_rows_together():
    x, y = np.arange(8, dtype=np.float32)[:, None], np.array([0, 0, 0, 0, 1, 1, 1, 1])
    split = Split(x, y, [f"{row // 2}-{row % 2}" for row in range(8)], groups=tuple(str(row // 2) for row in range(8)))
    small = few_shot_subset(TASKS["genre"], split, shots=1, seed=1)
    assert len(small.ids) == 4 == len(small.groups)
    assert [split.ids[int(row)] for row in small.x[:, 0]] == small.ids
    assert small.y.tolist() == [0, 0, 1, 1]
    assert few_shot_subset(TASKS["genre"], split) is split


def test_classes_of_few_tracks_are_warned_of(capsys):
    genres = np.repeat([0, 1], [3, 9])
    tracks = LabelledTracks({"train": [f"track {row}" for row in range(12)]}, {"train": genres}, None)
    warn_of_underrepresented_classes(TASKS["genre"], tracks, 5)
    warning = "genre: 1 class has fewer than probe.shots=5 in train, all of which count: a 3\n"
    assert capsys.readouterr().err == warning
