"""What a network's outputs are: their names and thresholds, of files; over time or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.label_names import read_names
from datasets.tables import CorpusError
from experiments.checkpoint_files import WEIGHTS, checkpoint_file
from experiments.errors import UserError
from experiments.tasks import Task
from models import published_taggers
from models.checkpoints import CheckpointError, read_metadata
from models.thresholds import Thresholds


def read_labels(file: str, section: str = "datamodule") -> tuple[str, ...]:
    """Read class names, in the order of the outputs.

    Args:
        file: A corpus whose tags are known (`models.published_taggers.CORPORA`); a list, see
            `datasets.label_names.read_names`; or a checkpoint, run's folder or folder in Hugging Face's layout that
            carries them.
        section: Of the settings that names it, for errors.

    Raises:
        UserError: There is no such checkpoint, or it names no classes.
        CorpusError: The list is missing, holds no names, the same name twice, or has another form.
    """
    if file in published_taggers.CORPORA:
        return published_taggers.CORPORA[file]
    path = Path(file).expanduser()
    if not path.is_dir() and path.suffix not in WEIGHTS:
        try:
            return read_names(path)
        except CorpusError as error:
            known = "" if path.exists() else f", or a built-in list: {', '.join(published_taggers.CORPORA)}"
            raise CorpusError(f"{section}.{error}{known}") from None
    labels = read_metadata(checkpoint_file(file)).get("labels")
    if not labels:
        raise UserError(f"{section}.labels={file}: this checkpoint names no classes; give a text file with one a line")
    return tuple(labels)


def output_names(carried: Sequence[str] | None, file: str | None, n_classes: int) -> tuple[str, ...]:
    """Names of a network's outputs: those of a file if one is given, else those its weights carry, else numbers.

    Raises:
        UserError: There are more or fewer of them than outputs, or they are a corpus's and the weights are of another.
        CorpusError: The file cannot be read.
    """
    labels = read_labels(file, "inference") if file else carried
    if labels is None:
        return tuple(f"class_{number:03d}" for number in range(n_classes))
    if file and not n_classes:
        raise UserError(
            f"inference.labels={file}: this network has no outputs that could have names; give the classifier that was "
            f"trained on it, inference.head=FILE, or leave the labels out"
        )
    if len(labels) != n_classes:
        origin = f"inference.labels={file}" if file else "the weights"
        raise UserError(f"{origin}: {len(labels)} names, the network has {n_classes} classes; give one name for each")
    if file in published_taggers.CORPORA and carried is not None and list(carried) != list(labels):
        raise UserError(
            f"inference.labels={file}: these weights name other classes ({', '.join(carried[:3])}, ...); "
            f"leave inference.labels out"
        )
    return tuple(labels)


def check_whole(task: Task | type[Task], user: str) -> None:
    """Refuse a task about points in time where a recording has one vector or one prediction.

    Args:
        task: What is wanted.
        user: What cannot have it, as the beginning of a sentence.

    Raises:
        UserError: It is such a task.
    """
    if not task.clip_level:
        raise UserError(
            f"{user} one output a recording, and {task.name} is about points in time: choose another task, or train a "
            "network over time for it, such as the named config spectnt_beats"
        )


def thresholds_of(metadata: Mapping[str, Any], names: Sequence[str], file: Path) -> Thresholds | None:
    """The thresholds of tags that a file has, by the names that its outputs have here; None where it has none.

    Raises:
        CheckpointError: They are of other outputs than the weights.
    """
    if metadata.get("thresholds") is None:
        return None
    thresholds = Thresholds.of_entry(metadata["thresholds"])
    try:
        thresholds.check_tags(metadata.get("labels") or names)
    except ValueError as error:
        raise CheckpointError(f"{file}: its entry thresholds {error}; was the file changed?") from None
    return replace(thresholds, tags=tuple(names))
