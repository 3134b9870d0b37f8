"""From the settings of a data module to annotated tracks: what is read, how it is dealt out, which labels count.

Nothing is said here: a corpus carries what its reader should know in its `notes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from datasets import splits
from datasets.corpus import GIVEN, LABELS, Corpus, read_groundtruths, read_table
from datasets.folders import are_classes, read_folders
from datasets.labels import Dropped, Merged, counted, drop_rare, folded, keep_known, merge_spellings
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.labels import read_labels
from experiments.settings import DatamoduleSettings
from experiments.tasks import TASKS
from experiments.tasks.base import Task, annotated

FOLDERS = "folders"
TABLES = tuple(f"tracks{suffix}" for suffix in (".csv", ".tsv", ".parquet", ".json", ".jsonl"))
MOST_SHOWN = 6
MANY_SINGLES = 10
MANY_TRACKS = 1000  # of more, every split has some


def table_near(base: Path) -> Path | None:
    """The table in a folder of audio, or beside it."""
    places = [folder / name for folder in (base, base.parent) for name in TABLES]
    return next((table for table in places if table.is_file()), None)


def table_found(settings: DatamoduleSettings, base: Path) -> Path | None:
    """The table that labels come from though the settings name none."""
    named = settings.groundtruth, settings.groundtruth_train, settings.groundtruth_val, settings.groundtruth_test
    return None if any(named) else table_near(base)


def from_files(settings: DatamoduleSettings, base: Path) -> Corpus | None:
    """The tracks of the table or the pickles that the settings name, or of the table in or beside a folder of audio.

    Returns:
        The tracks, dealt out; None where there is no such file, or folders are to be the classes.

    Raises:
        UserError: The labels or splits that are asked for cannot be had.
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
    table = Path(settings.groundtruth).expanduser() if settings.groundtruth else table_near(base)
    return arrange(settings, read(settings, table)) if table else None


def read(settings: DatamoduleSettings, table: Path) -> Corpus:
    """Read a table with the columns of the settings; its splits only where no others are asked for."""
    return read_table(table, settings.columns.model_dump(), settings.separators, splits=settings.splits is None)


def from_folders(settings: DatamoduleSettings, base: Path, ids: Sequence[str]) -> Corpus:
    """Take folders for classes: where that is asked for, or where they can be nothing else.

    Raises:
        UserError: It was not asked for, and the folders may be something else; or the labels or splits that are asked
            for cannot be had.
        CorpusError: There are fewer than two.
    """
    if settings.groundtruth != FOLDERS and not are_classes(ids):
        raise UserError(
            f"no annotations for {base}: give datamodule.groundtruth=TABLE (columns path, tags or genre, and "
            f"optionally split), put it there as tracks.csv, or, where the folders below it are the classes, "
            f"datamodule.groundtruth={FOLDERS}"
        )
    return arrange(settings, read_folders(ids, base.resolve().name))


def arrange(settings: DatamoduleSettings, corpus: Corpus) -> Corpus:
    """Bring spellings together and deal the tracks out, where the settings say so; adds to the notes.

    Raises:
        UserError: The splits that are asked for cannot be made.
    """
    notes = list(corpus.notes)
    known = read_labels(settings.labels) if settings.labels else ()
    if settings.merge_spellings:
        for annotation in LABELS:
            corpus, merged = merge_spellings(corpus, annotation, known)
            notes += said_of_merged(annotation, merged)
    changed = settings.split_shares != list(splits.SHARES)
    if settings.splits is None and corpus.split_by == GIVEN:
        if changed:
            raise UserError(
                f"datamodule.split_shares={settings.split_shares}: the splits are given by {corpus.name} and not "
                f"dealt out; to deal them out all the same, datamodule.splits=stratified"
            )
        return replace(corpus, notes=tuple(notes))
    replaced = corpus.split_by == GIVEN
    corpus = deal(settings, corpus)
    sizes = ", ".join(f"{len(corpus.split(name))} {name}" for name in splits.SPLITS)
    better = settings.splits is None and _stratified_fills(settings, corpus)
    other = " (datamodule.splits=stratified gives every label its share)" if better else ""
    notes.append(f"splits {corpus.split_by}: {sizes}{other}{', not those that are given' * replaced}")
    return replace(corpus, notes=tuple(notes))


def deal(settings: DatamoduleSettings, corpus: Corpus) -> Corpus:
    """Deal all tracks out by the rule of the settings; the clips of a song stay together.

    Raises:
        UserError: Groups are asked for, and no track belongs to any.
    """
    rule, shares, seed = settings.splits or "hashed", settings.split_shares, settings.split_seed
    labels = {
        track.id: tuple(f"{name}: {label}" for name in LABELS for label in track.labels(name) or ()) for track in corpus
    }
    songs = {track.id: str(track.annotations.get("group", track.id)) for track in corpus}
    clips = any(song != identity for identity, song in songs.items())
    if rule == "hashed":
        dealt = {identity: splits.hashed_split(song, shares) for identity, song in songs.items()}
        how = f"by a hash of the {settings.columns.group if clips else 'path'}"
    elif rule == "stratified":
        dealt, how = splits.grouped(labels, songs, shares, seed), f"stratified by label, seed {seed}"
    else:
        groups = {track.id: folded(track.annotations.get("artist", "")) for track in corpus}
        if not any(groups.values()):
            raise UserError(
                f"datamodule.splits=grouped: no track of {corpus.name} has an artist; name the column with "
                f"datamodule.columns.artist (there is {', '.join(corpus.columns) or 'no table'})"
            )
        alone = {identity: (group,) if group else (group, songs[identity]) for identity, group in groups.items()}
        dealt, how = splits.grouped(labels, alone, shares, seed), f"grouped by {settings.columns.artist}, seed {seed}"
    tracks = tuple(replace(track, split=dealt[track.id]) for track in corpus)
    return replace(corpus, tracks=tracks, split_by=how)


def _stratified_fills(settings: DatamoduleSettings, corpus: Corpus) -> bool:
    """Whether stratified splits would leave none empty that has a share, as they do where labels have few tracks."""
    if len(corpus) > MANY_TRACKS:
        return True
    dealt = deal(settings.model_copy(update={"splits": "stratified"}), corpus)
    wanted = {split for split, share in zip(splits.SPLITS, settings.split_shares, strict=True) if share > 0}
    return {track.split for track in dealt} == wanted


def task_of(settings: DatamoduleSettings, corpus: Corpus) -> str:
    """The task of the settings, or the one that the annotations are for."""
    if settings.task != "auto":
        return settings.task
    there = set(corpus.annotations)
    return next((name for name, kind in TASKS.items() if there.issuperset(kind.annotations)), "tagging")


def tasks_of(asked: Literal["auto"] | Sequence[str], corpus: Corpus) -> list[str]:
    """The tasks asked for, each once; for `auto` those that the tracks are annotated for, one a kind of annotation."""
    if asked != "auto":
        return list(dict.fromkeys(asked))
    there = set(corpus.annotations)
    found = {kind.annotations: name for name, kind in reversed(TASKS.items()) if there.issuperset(kind.annotations)}
    return [name for name in TASKS if name in found.values()] or ["tagging"]


def choose_labels(settings: DatamoduleSettings, corpus: Corpus, annotation: str) -> tuple[Corpus, tuple[str, ...]]:
    """Settle the classes of a training and leave the other labels out; adds to the notes.

    Args:
        settings: `labels`, `min_tracks`, `unknown_labels`.
        corpus: Tracks with features.
        annotation: One of `datasets.corpus.LABELS`, which some track has.

    Returns:
        The corpus, and the classes: those of `labels` in their order, or all there are, sorted.
    """
    known = read_labels(settings.labels) if settings.labels else None
    notes = list(corpus.notes)
    if known is not None:
        corpus, notes = _keep(settings, corpus, annotation, known, notes)
    training, everywhere = counted(corpus.split("train"), annotation), counted(corpus, annotation)
    classes = known or corpus.vocabulary(annotation)
    notes += _said_of_singles(settings, everywhere, len(corpus.annotated(annotation)))
    if settings.min_tracks:
        corpus, dropped = drop_rare(corpus, annotation, settings.min_tracks)
        dropped += tuple(Dropped(label, 0, 0) for label in classes if label not in everywhere)
        notes += said_of_dropped(annotation, f"datamodule.min_tracks={settings.min_tracks}", dropped, len(classes))
        classes = tuple(label for label in classes if training[label] >= settings.min_tracks)
        if not classes:
            most, count = training.most_common(1)[0] if training else ("none", 0)
            raise UserError(
                f"datamodule.min_tracks={settings.min_tracks} leaves no label of {corpus.name}: "
                f"the commonest, {most!r}, has {count} training tracks"
            )
    elif unseen := [label for label in classes if not training[label]]:
        notes.append(
            f"{len(unseen)} of {len(classes)} labels ({annotation}) without a training track, "
            f"which cannot be learned: {shown(unseen)} (datamodule.min_tracks=1 leaves them out)"
        )
    return replace(corpus, notes=tuple(notes)), classes


def conform(settings: DatamoduleSettings, corpus: Corpus, annotation: str, classes: Sequence[str]) -> Corpus:
    """Fit the labels of a corpus to the classes of a trained network; adds to the notes."""
    notes = list(corpus.notes)
    if settings.merge_spellings:
        corpus, merged = merge_spellings(corpus, annotation, classes)
        notes += said_of_merged(annotation, merged)
    if settings.min_tracks:
        corpus, _ = drop_rare(corpus, annotation, settings.min_tracks)
    corpus, notes = _keep(settings, corpus, annotation, classes, notes)
    return replace(corpus, notes=tuple(notes))


def measured(corpus: Corpus, kind: type[Task]) -> dict[str, Any]:
    """Options of a task that depend on annotated values, of all tracks but those of the test."""
    values = [annotated(kind.annotations, track.annotations) for track in corpus if track.split != "test"]
    return kind.measured([value for value in values if value is not None])


def _keep(
    settings: DatamoduleSettings, corpus: Corpus, annotation: str, known: Sequence[str], notes: list[str]
) -> tuple[Corpus, list[str]]:
    if settings.unknown_labels == "refuse":
        return corpus, notes
    there = len(counted(corpus, annotation))
    corpus, dropped = keep_known(corpus, annotation, known)
    return corpus, notes + said_of_dropped(annotation, "datamodule.unknown_labels=drop", dropped, there)


def said_of_merged(annotation: str, merged: Sequence[Merged]) -> list[str]:
    """One line about spellings that were brought together, or none."""
    if not merged:
        return []
    spelled = [f"{', '.join(map(ascii, one.others))} -> {one.label!r}" for one in merged]
    count = sum(len(one.others) for one in merged)
    return [
        f"{pluralize(count, 'spelling')} of labels ({annotation}) brought together: {shown(spelled)} "
        f"(datamodule.merge_spellings=False keeps them apart)"
    ]


def said_of_dropped(annotation: str, why: str, dropped: Sequence[Dropped], of: int) -> list[str]:
    """One line about labels that were left out, or none."""
    if not dropped:
        return []
    listed = [f"{one.label} ({one.training} training tracks)" for one in sorted(dropped)]
    return [f"{why} leaves out {len(dropped)} of {of} labels ({annotation}): {shown(listed)}"]


def _said_of_singles(settings: DatamoduleSettings, counts: Counter[str], tracks: int) -> list[str]:
    """One line where most labels belong to one track alone, as they do where a cell was not parted, or none."""
    singles = [label for label, count in counts.items() if count == 1]
    if len(singles) < max(MANY_SINGLES, tracks / 2):
        return []
    return [
        f"{len(singles)} of {len(counts)} labels belong to one track alone, {min(singles)!r} for instance: are these "
        f"labels? Where a cell holds several, say what joins them: datamodule.separators ({settings.separators!r})"
    ]


def shown(things: Iterable[str], most: int = MOST_SHOWN) -> str:
    """The first of a list, and how many more there are."""
    things = list(things)
    return ", ".join(things[:most]) + (f" and {len(things) - most} more" if len(things) > most else "")
