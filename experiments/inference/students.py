"""Which command trains a student on stored logits: one that works for their teacher and their tracks."""

from __future__ import annotations

import shlex
from pathlib import Path

from datasets.folders import folder_splits
from datasets.matching import match_tracks
from datasets.splits import SPLITS, hashed_split
from experiments.encoder import Encoder
from experiments.settings import DatamoduleSettings, PretrainSettings
from experiments.tracks import annotations
from experiments.tracks.data import DataSource, is_annotated, prepare_task, spell

STUDENTS = {"maest": "maest_30s_teacher_student_pretrain"}  # network: config whose second head takes any teacher
STUDENT = "short_chunk"  # of any other teacher, where there is audio
FITTED = ("base_dir", "demo_size", "store_dir", "splits", "split_shares", "split_seed")  # what does not concern labels


def command(settings: PretrainSettings, encoder: Encoder, source: DataSource, logits: Path) -> str | None:
    """The command line, or None where nothing can learn from this teacher.

    Where the labels of the tracks are not among the teacher's classes, the student learns from the teacher alone.

    Args:
        settings: Of the extraction.
        encoder: The teacher.
        source: The tracks.
        logits: The store.
    """
    task, datamodule = encoder.task, settings.datamodule
    if task.kind == "values" or not task.clip_level:
        return None
    annotated, network = is_annotated(datamodule), encoder.network.name
    student = f"ex_transfer.py with {STUDENT}"
    if annotated and network in STUDENTS:
        student = f"ex_pretrain.py with {STUDENTS[network]}"
    else:
        if settings.model.words or source.features.path.resolve() == source.base_dir.resolve():
            words = settings.model.words or (f"model.network={network}",)
            student = f"ex_pretrain.py with {shlex.join(words)}"
        if not annotated or not _fit(encoder, source, datamodule):
            datamodule = _alone(datamodule, source, explicit=annotated)
    return f"python {student} {shlex.quote(f'distillation.logits={logits}')}{spell(datamodule)}"


def _fit(encoder: Encoder, source: DataSource, datamodule: DatamoduleSettings) -> bool:
    """Whether one head can learn both the annotations and the teacher's outputs."""
    try:
        corpus = annotations.from_files(datamodule, source.base_dir)
        corpus = corpus or annotations.from_folders(datamodule, source.base_dir, source.features.ids)
        corpus = corpus.only(match_tracks([track.id for track in corpus], list(source.features.ids)).stored)
        _, task = prepare_task(datamodule, corpus)
    except ValueError:
        return False
    own, teachers = set(task.classes), set(encoder.task.classes)
    return task.name == encoder.task.name and (own == teachers if task.kind == "class" else own <= teachers)


def _alone(datamodule: DatamoduleSettings, source: DataSource, explicit: bool) -> DatamoduleSettings:
    """The settings without those of labels, and with a rule of splits that leaves neither train nor valid empty."""
    kept = {key: getattr(datamodule, key) for key in FITTED} | (
        {"groundtruth": annotations.TEACHER} if explicit else {}
    )
    hashed = {hashed_split(identity, datamodule.split_shares) for identity in source.features.ids}
    if datamodule.splits is None and not folder_splits(source.features.ids) and not hashed >= set(SPLITS[:2]):
        kept["splits"] = "stratified"
    return DatamoduleSettings(**kept)
