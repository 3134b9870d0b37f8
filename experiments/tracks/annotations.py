"""From the settings of a data module to annotated tracks: what is read, how it is split, which labels count.

Nothing is printed here: a corpus carries what the user should know in its `notes`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from datasets import splits
from datasets.corpus import GIVEN, LABELS, Corpus, read_groundtruths, read_table
from datasets.corpus_splits import fills_all, split_corpus
from datasets.folders import are_classes, read_folders
from datasets.labels import (
    Dropped,
    counted,
    drop_rare,
    dropped_notes,
    keep_known,
    merge_spellings,
    merged_notes,
    singles_notes,
)
from datasets.matching import match_tracks
from datasets.tables import CorpusError
from datasets.text import enumerated
from experiments.errors import UserError
from experiments.labels import read_labels
from experiments.settings import DatamoduleSettings
from experiments.tasks import TASKS
from experiments.tasks.base import Task, annotated
from experiments.tracks import beat_sources

FOLDERS = "folders"
TEACHER = "teacher"  # no annotations but what a teacher gives
TABLES = tuple(f"tracks{suffix}" for suffix in (".csv", ".tsv", ".parquet", ".json", ".jsonl"))


def table_near(base: Path) -> Path | None:
    """The table in a folder of audio, or beside it."""
    places = [folder / name for folder in (base, base.parent) for name in TABLES]
    return next((table for table in places if table.is_file()), None)


def table_found(settings: DatamoduleSettings, base: Path) -> Path | None:
    """The table near the audio that labels come from; None where the settings name one."""
    named = settings.groundtruth, settings.groundtruth_train, settings.groundtruth_val, settings.groundtruth_test
    return None if any(named) else table_near(base)


def from_files(settings: DatamoduleSettings, base: Path, task: Task | None = None) -> Corpus | None:
    """The tracks of the table, pickles or files of beats that the settings name, or of the table near the audio.

    Without either, those of the files of beats beside the audio, where the task is about beats: that of a trained
    network, or else of the settings.

    Returns:
        The tracks, split; None where there is no such file, or folders are to be the classes.

    Raises:
        UserError: The labels or splits of the settings cannot be made.
        CorpusError, StoreError: The files cannot be read.
    """
    pickles = {
        "train": settings.groundtruth_train,
        "valid": settings.groundtruth_val,
        "test": settings.groundtruth_test,
    }
    given = {split: Path(file).expanduser() for split, file in pickles.items() if file}
    if given:
        return arrange(settings, read_groundtruths(given, read_labels(settings.labels) if settings.labels else None))
    if settings.groundtruth == FOLDERS:
        return None
    if settings.groundtruth == TEACHER:
        raise UserError(
            f"datamodule.groundtruth={TEACHER} is for training on a teacher's outputs, distillation.logits=STORE; "
            "everything else needs annotations: name a table, or leave it out"
        )
    if settings.groundtruth and (beats := beat_sources.named(settings.groundtruth, base)) is not None:
        return arrange(settings, beats)
    table = Path(settings.groundtruth).expanduser() if settings.groundtruth else table_near(base)
    if table is not None and not table.exists():
        raise UserError(
            f"datamodule.groundtruth={settings.groundtruth}: no such table, nor folder of beats; where a named config "
            "set it, such as those that end with _mtt, give your own, datamodule.groundtruth=TABLE, or take the config "
            "of the network alone, without _mtt"
        )
    wanted = beat_sources.needed(settings, task)
    corpus = read(settings, table, base) if table else beat_sources.beside_audio(base, wanted)
    return corpus and arrange(settings, corpus)


def read(settings: DatamoduleSettings, table: Path, base: Path | None = None) -> Corpus:
    """Read a table with the columns of the settings; its splits only where the settings choose no others."""
    columns, own_splits = settings.columns.model_dump(), settings.splits is None
    return read_table(table, columns, settings.separators, splits=own_splits, lenient=True, audio=base)


def pooling_note(settings: DatamoduleSettings, corpus: Corpus) -> str:
    """Which columns of a table are pooled as tags; empty where it has one of them at most."""
    names = settings.columns.tags if isinstance(settings.columns.tags, list) else []
    there = {column.casefold() for column in corpus.columns}
    present = [name for name in names if name.casefold() in there]
    if len(present) < 2:
        return ""
    joined = " and ".join(present)
    return f"tags: columns {joined} pooled (datamodule.columns.tags={present[0]} reads one alone)"


def splits_near(settings: DatamoduleSettings, base: Path, ids: Sequence[str]) -> tuple[Path, dict[str, str]] | None:
    """The splits of tracks by a table, whatever annotations it has: that of the settings, or the one near the audio.

    Args:
        settings: Which table, the names of its columns, and whether other splits are chosen.
        base: The folder of audio.
        ids: Of the tracks. One that the table does not have is for training.

    Returns:
        The table, and the splits by id; None where no table gives any of these tracks one, or the settings choose
        others.

    Raises:
        CorpusError: The table cannot be read.
    """
    given = settings.groundtruth if settings.groundtruth not in (FOLDERS, TEACHER) else None
    table = Path(given).expanduser() if given else table_near(base)
    if table is None or table.is_dir() or settings.splits is not None:
        return None
    corpus = read_table(table, {"path": settings.columns.path, "split": settings.columns.split})
    if corpus.split_by != GIVEN:
        return None
    try:
        found = match_tracks([track.id for track in corpus], ids).stored
    except CorpusError:  # a table of other tracks
        return None
    given = {found[track.id]: track.split for track in corpus if track.id in found}
    return table, {identity: given.get(identity, "train") for identity in ids}


def from_folders(settings: DatamoduleSettings, base: Path, ids: Sequence[str], task: Task | None = None) -> Corpus:
    """Take folders for classes: where the settings say so, or where they can be nothing else.

    Raises:
        UserError: The settings do not say so, and the folders may be something else; or the labels or splits of the
            settings cannot be made.
        CorpusError: There are fewer than two.
    """
    if settings.groundtruth != FOLDERS and "beats" in beat_sources.needed(settings, task):
        raise UserError(
            f"no beats for {base}: put files of beats beside the audio (song.beats for song.wav), or name a folder of "
            "them or a table, datamodule.groundtruth=FOLDER_OR_TABLE"
        )
    if settings.groundtruth != FOLDERS and not are_classes(ids):
        raise UserError(
            f"no annotations for {base}: give datamodule.groundtruth=TABLE (columns path, tags or genre, and "
            f"optionally split), put it there as tracks.csv, or, where the folders below it are the classes, "
            f"datamodule.groundtruth={FOLDERS}; files of beats beside the audio are for datamodule.task=beats"
        )
    return arrange(settings, read_folders(ids, base.resolve().name))


def arrange(settings: DatamoduleSettings, corpus: Corpus) -> Corpus:
    """Merge spellings and split the tracks, where the settings say so; adds to the notes.

    Raises:
        UserError: The splits of the settings cannot be made.
    """
    notes = list(corpus.notes)
    known = read_labels(settings.labels) if settings.labels else ()
    if settings.merge_spellings:
        for annotation in LABELS:
            corpus, merged = merge_spellings(corpus, annotation, known)
            notes += merged_notes(annotation, merged)
    changed = settings.split_shares != list(splits.SHARES)
    if settings.splits is None and corpus.split_by == GIVEN:
        if changed:
            raise UserError(
                f"datamodule.split_shares={settings.split_shares} has no effect: the splits are given by "
                f"{corpus.name}; to split its tracks again, add datamodule.splits=stratified"
            )
        return replace(corpus, notes=tuple(notes))
    replaced = corpus.split_by == GIVEN
    rule, columns = settings.splits or "hashed", settings.columns
    corpus = split_corpus(corpus, rule, settings.split_shares, settings.split_seed, columns.group, columns.artist)
    sizes = ", ".join(f"{len(corpus.split(name))} {name}" for name in splits.SPLITS)
    labelled = set(LABELS) & set(beat_sources.needed(settings) or corpus.annotations)
    better = settings.splits is None and labelled
    better = better and fills_all(corpus, "stratified", settings.split_shares, settings.split_seed)
    other = " (datamodule.splits=stratified gives every label its share)" if better else ""
    notes.append(f"splits {corpus.split_by}: {sizes}{other}{', not those that are given' * replaced}")
    return replace(corpus, notes=tuple(notes))


def task_of(task: str, corpus: Corpus) -> str:
    """The task of that name, or for `auto` the one that the annotations are for."""
    if task != "auto":
        return task
    present = set(corpus.annotations)
    return next((name for name, kind in TASKS.items() if present.issuperset(kind.annotations)), "tagging")


def tasks_of(tasks: Literal["auto"] | Sequence[str], corpus: Corpus) -> list[str]:
    """The tasks of those names, each once; for `auto` one for each kind of annotation that the tracks have.

    Tasks over time are not among those of `auto`: what is solved with one vector a track cannot be one of them.
    """
    if tasks != "auto":
        return list(dict.fromkeys(tasks))
    present, whole = set(corpus.annotations), {name: kind for name, kind in TASKS.items() if kind.clip_level}
    first = {kind.annotations: name for name, kind in reversed(whole.items()) if present.issuperset(kind.annotations)}
    return [name for name in TASKS if name in first.values()] or ["tagging"]


def choose_labels(
    settings: DatamoduleSettings, corpus: Corpus, annotation: str, taught: Collection[str] = ()
) -> tuple[Corpus, tuple[str, ...]]:
    """Settle the classes of a training and leave the other labels out; adds to the notes.

    Args:
        settings: `labels`, `min_tracks`, `unknown_labels`.
        corpus: Tracks with features.
        annotation: One of `datasets.corpus.LABELS`, which some track has.
        taught: Labels that a teacher knows, so that they are learned without annotations.

    Returns:
        The corpus, and the classes: those of `labels` in their order, or all there are, sorted.
    """
    known = read_labels(settings.labels) if settings.labels else None
    notes = list(corpus.notes)
    if known is not None:
        corpus, notes = _keep(settings.unknown_labels == "drop", corpus, annotation, known, notes)
    training, everywhere = counted(corpus.split("train"), annotation), counted(corpus, annotation)
    classes = known or corpus.vocabulary(annotation)
    notes += singles_notes(settings.separators, everywhere, len(corpus.annotated(annotation)))
    if settings.min_tracks:
        corpus, dropped = drop_rare(corpus, annotation, settings.min_tracks)
        dropped += tuple(Dropped(label, 0, 0) for label in classes if label not in everywhere)
        notes += dropped_notes(annotation, f"datamodule.min_tracks={settings.min_tracks}", dropped, len(classes))
        classes = tuple(label for label in classes if training[label] >= settings.min_tracks)
        if not classes:
            most, count = training.most_common(1)[0] if training else ("none", 0)
            raise UserError(
                f"datamodule.min_tracks={settings.min_tracks} leaves no label of {corpus.name}: "
                f"the most common, {most!r}, has {count} training tracks"
            )
    else:
        notes += _unseen_notes(annotation, [label for label in classes if not training[label]], classes, taught)
    return replace(corpus, notes=tuple(notes)), classes


def _unseen_notes(annotation: str, unseen: Sequence[str], classes: Sequence[str], taught: Collection[str]) -> list[str]:
    """Notes on the labels without a training track: those that cannot be learned, and those that a teacher knows."""
    lost, known = [label for label in unseen if label not in taught], [label for label in unseen if label in taught]
    of = f"of {len(classes)} labels ({annotation}) have no training track and"
    notes = []
    if lost:
        notes.append(
            f"{len(lost)} {of} cannot be learned: {enumerated(lost)} (datamodule.min_tracks=1 leaves them out)"
        )
    if known:
        notes.append(
            f"{len(known)} {of} are learned from the teacher, against annotations that never have them: "
            f"{enumerated(known)} (distillation.weight=1 counts the teacher alone)"
        )
    return notes


def conform(settings: DatamoduleSettings, corpus: Corpus, annotation: str, classes: Sequence[str]) -> Corpus:
    """Fit the labels of a corpus to the classes of a trained network; adds to the notes."""
    notes = list(corpus.notes)
    if settings.merge_spellings:
        corpus, merged = merge_spellings(corpus, annotation, classes)
        notes += merged_notes(annotation, merged)
    if settings.min_tracks:
        corpus, _ = drop_rare(corpus, annotation, settings.min_tracks)
    corpus, notes = _keep(settings.unknown_labels == "drop", corpus, annotation, classes, notes)
    return replace(corpus, notes=tuple(notes))


def measured(corpus: Corpus, kind: type[Task]) -> dict[str, Any]:
    """Options of a task that depend on annotated values, of all tracks but those of the test."""
    values = [annotated(kind.annotations, track.annotations) for track in corpus if track.split != "test"]
    return kind.measured([value for value in values if value is not None])


def _keep(
    drop: bool, corpus: Corpus, annotation: str, known: Sequence[str], notes: list[str]
) -> tuple[Corpus, list[str]]:
    if not drop:
        return corpus, notes
    before = len(counted(corpus, annotation))
    corpus, dropped = keep_known(corpus, annotation, known)
    return corpus, notes + dropped_notes(annotation, "datamodule.unknown_labels=drop", dropped, before)
