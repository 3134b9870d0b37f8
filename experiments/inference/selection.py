"""Which classes are given, by the settings, and the files that thresholds are kept in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import PredictionSettings, PretrainSettings
from experiments.settings.inference import selections
from experiments.tasks.base import Task
from models.descriptions import read_json
from models.errors import CheckpointError
from models.files import replaced
from models.fingerprint import fingerprint
from models.published_taggers import CORPORA
from models.releases import WHEEL
from models.selection import Selection, fitted, one_class, same_for_all
from models.thresholds import USUAL, Thresholds

FILE = "thresholds.json"
FIT = "fit them by `python ex_transfer.py evaluate with inference.fit_thresholds=True ...`"


def selection_of(
    inference: PredictionSettings, task: Task, own: Thresholds | None, weights: str = ""
) -> Selection | None:
    """Which classes are given.

    Args:
        inference: Of the settings: `top`, `threshold`, `thresholds` and `argmax`.
        task: What the outputs mean.
        own: Thresholds that the checkpoint has.
        weights: What the weights of the network are known by.

    Returns:
        None for tasks with values.

    Raises:
        UserError: A setting is not for this kind of task, or the file of thresholds is not for these tags.
    """
    if task.kind != "tags":
        for name in ("threshold", "thresholds"):
            if getattr(inference, name) is not None:
                what = {"class": "gives one class", "events": "gives points in time"}.get(task.kind, "gives values")
                raise UserError(f"inference.{name} is for tags; {task.name} {what}: leave it out")
        return one_class() if task.kind == "class" else None
    if inference.argmax:
        return Selection("inference.argmax=True")
    if inference.top is not None:
        return Selection(f"inference.top={inference.top}", n=min(inference.top, task.n_outputs))
    if inference.threshold is not None:
        return same_for_all(inference.threshold, task.n_outputs, f"inference.threshold={inference.threshold:g}")
    if inference.thresholds is not None:
        join = (inference.join or task.usual_join) if hasattr(inference, "join") else ""
        thresholds = read_thresholds(inference.thresholds, task.classes, weights, join)
        return Selection(f"inference.thresholds={inference.thresholds}", thresholds.values)
    return fitted(own, task.classes)


def say_unfitted(
    inference: PredictionSettings,
    task: Task,
    own: Thresholds | None,
    words: Sequence[str] = (),
    data: str = " datamodule.base_dir=AUDIO_DIR",
) -> None:
    """Say that tags are given by the usual threshold, where that is so, and how to fit thresholds.

    Args:
        inference: See `selection_of`, as `task` and `own`.
        words: Of `network_words`, where thresholds can be fitted for the network.
        data: What a command line says of the tracks, see `experiments.tracks.data.spell`.
    """
    if task.kind != "tags" or own is not None or selections(inference):
        return
    say(f"no thresholds were fitted: a tag is given from a probability of {USUAL} on; inference.threshold sets another")
    if words:
        command = f"python ex_transfer.py evaluate with {shlex.join(words)} inference.fit_thresholds=True{data}"
        say(f"fit thresholds on tagged audio: {command}")


def network_words(settings: PretrainSettings) -> list[str]:
    """What a command line needs to name the trained network of the settings."""
    checkpoint, pretrained = settings.inference.checkpoint, settings.model.pretrained
    named = [f"inference.checkpoint={checkpoint}"] if checkpoint else []
    if pretrained and (not checkpoint or checkpoint.endswith(WHEEL)):
        named.append(f"model.pretrained={pretrained}")
    return [*named, *settings.model.words]


def read_thresholds(file: str, tags: Sequence[str], weights: str = "", join: str = "") -> Thresholds:
    """Thresholds of a file that an evaluation left; says so where they were fitted for other weights or another join.

    Args:
        file: Named in the settings.
        tags: Of the network.
        weights: What its weights are known by.
        join: How the windows of a track become one.

    Raises:
        UserError: It is missing or damaged, or its tags are others.
    """
    path, where = Path(file).expanduser(), f"inference.thresholds={file}"
    if not path.is_file():
        raise UserError(f"{where}: no such file; {FIT}")
    try:
        content = read_json(path)
        thresholds = Thresholds.of_entry(content)
        thresholds.check_tags(tags)
    except CheckpointError as error:
        raise UserError(f"inference.thresholds: {error}") from None
    except ValueError as error:
        raise UserError(f"{where} {error}; {FIT}") from None
    if weights and content.get("weights", weights) != weights:
        say(f"{where} was fitted for other weights, which may give other probabilities")
    if join and (theirs := content.get("join", join)) != join:
        say(
            f"{where} was fitted for inference.join={theirs}, the windows are joined by {join}: that moves the "
            f"probabilities of tracks; give inference.join={theirs}, or fit thresholds for {join}: {FIT}"
        )
    return thresholds


def write_thresholds(path: Path, thresholds: Thresholds, about: Mapping[str, Any]) -> None:
    """Write a file that `read_thresholds` reads; `about` says what else is known of it."""
    with replaced(path) as aside:
        aside.write_text(
            json.dumps({**thresholds.entry, **about}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def tag_set(tags: Sequence[str]) -> str:
    """The name of a published set of tags in its published order, or a fingerprint of names and order."""
    known = next((f"{corpus} top 50" for corpus, published in CORPORA.items() if tuple(tags) == published), None)
    return known or fingerprint({"tags": list(tags)})
