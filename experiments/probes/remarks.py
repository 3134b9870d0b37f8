"""What a sweep tells its user besides figures: failed probes, ties, scarce classes, embeddings of other audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from datasets.corpus import SPLITS
from datasets.store import Store
from datasets.text import pluralize
from experiments.inference.extraction import made_of_other
from experiments.messages import say
from experiments.probes.few_shot import scarce
from experiments.probes.representations import Annotated, Representation
from experiments.probes.sweeping import Outcome
from experiments.tasks.base import Task
from experiments.tracks.data import DataSource


def say_failures(task: str, label: str, outcomes: Sequence[Outcome]) -> None:
    """Say how many probes of a row failed, and why the first did."""
    failed = [record for outcome in outcomes for record in outcome.failed]
    if failed:
        points = sum(len(outcome.records) for outcome in outcomes)
        say(
            f"{task}, {label}: {len(failed)} of {pluralize(points, 'probe')} failed (probes.csv), e.g. "
            f"{failed[0].failure}"
        )


def say_ties(trained: Sequence[tuple[str, str, int, Outcome]]) -> None:
    """Say where validation alone did not decide."""
    tied = [(task, label, outcome) for task, label, _, outcome in trained if len(outcome.tied) > 1]
    if tied:
        task, label, outcome = tied[0]
        say(
            f"{pluralize(len(tied), 'choice was a tie', 'choices were ties')} of {len(trained)}, broken by "
            f"validation loss, then by place in the grid: "
            f"in {task}, {label}, for instance, {len(outcome.tied)} probes share {outcome.probe.value:.4f} "
            f"(column tied of probes.csv)"
        )


def say_missing_classes(task: Task, tracks: Annotated) -> None:
    """Say which classes a split lacks: they cannot be learned, or do not count there."""
    if task.kind != "tags" and not np.issubdtype(tracks.targets["train"].dtype, np.integer):
        return
    held = {}
    for split in SPLITS:
        y = tracks.targets[split]
        held[split] = set(np.flatnonzero(y.any(axis=0)) if task.kind == "tags" else np.unique(y).tolist())
    said_before = ("train",) if "classes" in task.options else ()  # of classes that come from the labels
    for split in (split for split in SPLITS if split not in said_before):
        lacking = [task.classes[number] for number in sorted(set().union(*held.values()) - held[split])]
        if lacking:
            what = "which cannot be learned" if split == "train" else "not counted there"
            have = pluralize(len(lacking), "class has", "classes have")
            listed = ", ".join(lacking[:4]) + (", ..." if len(lacking) > 4 else "")
            say(f"{task.name}: {have} no track in split {split}, {what}: {listed}")


def say_scarce_classes(task: Task, tracks: Annotated, shots: int | None) -> None:
    """Say which classes have fewer training tracks, or songs, than are asked for."""
    names = tracks.groups["train"] if tracks.groups else tracks.ids["train"]
    found = scarce(task, tracks.targets["train"], names, shots) if shots else {}
    if found:
        listed = ", ".join(f"{kind} {count}" for kind, count in list(found.items())[:4]) + ", ..." * (len(found) > 4)
        have = pluralize(len(found), "class has", "classes have")
        say(f"{task.name}: {have} fewer than probe.shots={shots} in train, all of which count: {listed}")


def warn_of_other_audio(compared: Iterable[Representation], source: DataSource) -> None:
    """Say so where a store of embeddings was not made from these features, though its tracks have the same names."""
    stores = {store.path: store for row in compared for store in row.stores if isinstance(store, Store)}
    for store in stores.values():
        if store.header.kind == "embeddings" and (other := made_of_other(store, source.features, source.features.ids)):
            say(
                f"{store.path}: {pluralize(len(other), 'track was', 'tracks were')} not made from the audio "
                f"of that name in "
                f"{source.base_dir}, {other[0]} for instance; is datamodule.base_dir right?"
            )
