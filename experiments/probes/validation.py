"""What probes are chosen by: the primary metric on validation, where clips of a song are evaluated together.

A probe learns on clips; where tracks have groups, validation and test count songs, with one prediction made of those
for the clips. The rule (`models.probes.songs`) with the best validation score is used for validation and test; of equal
ones the first. Tasks about tags and values know the mean alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from datasets.text import pluralize
from experiments.errors import UserError
from experiments.probes.vectors import Split, same_origin
from experiments.tasks.base import Task
from models.probes.songs import RULES, song_outputs

if TYPE_CHECKING:
    from torch import Tensor


def songs(groups: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The songs in the order in which they are met, and the number of every clip's song."""
    numbers: dict[str, int] = {}
    rows = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    return list(numbers), rows


def song_means(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean over the clips of every song.

    Args:
        values: `[..., clips, n]`.
        rows: Number of every clip's song, `[clips]`; each number from 0 on at least once.

    Returns:
        `[..., songs, n]`, float64.
    """
    counts = np.bincount(rows)
    sums = np.zeros((*values.shape[:-2], len(counts), values.shape[-1]))
    np.add.at(sums, (..., rows, slice(None)), values)
    return sums / counts[:, None]


def song_targets(task: Task, targets: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """One target a song.

    Raises:
        UserError: Clips of a song have different ones.
    """
    names, rows = songs(groups)
    _, first = np.unique(rows, return_index=True)
    differs = np.flatnonzero((targets != targets[first][rows]).reshape(len(targets), -1).any(axis=1))
    if len(differs):
        raise UserError(
            f"{task.name}: the clips of {names[rows[differs[0]]]!r} have different annotations; clips that share a "
            f"group are evaluated together, with one prediction"
        )
    return targets[first]


def items(task: Task, split: Split) -> tuple[list[str], np.ndarray]:
    """What is evaluated: tracks, or songs where tracks are clips of songs; and their targets."""
    if split.groups is None:
        return split.ids, split.y
    return songs(split.groups)[0], song_targets(task, split.y, split.groups)


class Evaluator:
    """Scores many systems on the same items, clips or songs.

    Args:
        task: Its primary metric counts.
        targets: Of the clips.
        groups: What each clip is of; None where each is evaluated alone.
        device: Where outputs will be.

    Raises:
        UserError: Clips of a song have different targets.
    """

    def __init__(self, task: Task, targets: np.ndarray, groups: Sequence[str] | None, device: str = "cpu"):
        import torch

        self.task, self.rules = task, RULES[task.kind] if groups is not None else ()
        references = targets if groups is None else song_targets(task, targets, groups)
        self.references = torch.from_numpy(np.array(references)).to(device)
        if groups is not None:
            names, rows = songs(groups)
            self.n_songs, self.rows = len(names), torch.from_numpy(rows).to(device)

    def scores(self, outputs: Tensor) -> Tensor:
        """Primary metric of outputs `[systems, clips, n]`, by the best rule for each: float64 `[systems]`."""
        if self.rules:
            return self.scores_by_rule(outputs).amax(0)
        return self.task.primary_scores(outputs, self.references)

    def scores_by_rule(self, outputs: Tensor) -> Tensor:
        """The same by every rule, `[rules, systems]`."""
        import torch

        by_rule = (song_outputs(self.task.kind, rule, outputs, self.rows, self.n_songs) for rule in self.rules)
        return torch.stack([self.task.primary_scores(one, self.references) for one in by_rule])


def best_rule(task: Task, outputs: np.ndarray, targets: np.ndarray, groups: Sequence[str]) -> str:
    """The rule with the best primary metric for a probe's outputs `[clips, n]`; of equal ones the first."""
    import torch

    evaluator = Evaluator(task, targets, groups)
    return evaluator.rules[int(evaluator.scores_by_rule(torch.from_numpy(outputs)[None])[:, 0].argmax())]


def song_predictions(task: Task, rule: str, outputs: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Decoded predictions for songs from a probe's outputs `[clips, n]`."""
    import torch

    names, rows = songs(groups)
    joined = song_outputs(task.kind, rule, torch.from_numpy(outputs)[None], torch.from_numpy(rows), len(names))
    return task.decode(joined[0])


def check_splits(task: Task, train: Split, valid: Split) -> None:
    """Refuse splits that do not fit together, and a validation split that cannot be scored.

    Raises:
        UserError: Other origin, other width, or tracks in both; too few tracks in validation, or too few kinds.
    """
    same_origin("training vectors are", train.features, "validation vectors are", valid.features)
    if (train.layers, train.groups is None) != (valid.layers, valid.groups is None) or train.x.shape[1] % train.layers:
        raise UserError(f"{task.name}: training and validation vectors are not laid out alike")
    if train.x.shape[1] != valid.x.shape[1]:
        raise UserError(f"training vectors have {train.x.shape[1]} values, validation vectors {valid.x.shape[1]}")
    shared = set(train.ids) & set(valid.ids)
    if shared:
        raise UserError(
            f"{task.name}: {pluralize(len(shared), 'track')} in training and in validation, e.g. {min(shared)!r}"
        )
    check_scorable(task, valid)


def check_scorable(task: Task, valid: Split) -> None:
    """Refuse a validation split that nothing can be chosen by.

    Raises:
        UserError: It has too few items, or too few different targets.
    """
    _, references = items(task, valid)
    try:
        task.primary_score(task.decode(np.zeros((len(references), task.n_outputs), np.float32)), references)
    except UserError as error:
        raise UserError(f"validation split: {error}") from None
