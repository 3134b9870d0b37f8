"""From the settings of a data module to tracks, features and encoded annotations."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.corpus import SPLITS, Corpus, CorpusError, Track, read_groundtruths, read_table
from datasets.matching import match_tracks
from datasets.upstream import open_features
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tasks import TASKS, Task, build, find
from experiments.tracking import ranks
from models.frontends import MusiCNNMel
from models.frontends import build as build_frontend
from preprocess.files import SUFFIXES as AUDIO_SUFFIXES

FRONTEND = "musicnn"
UPSTREAM_SUFFIXES = (".mmap", ".npy")
MIN_FRAMES = 16  # one patch


@dataclass(frozen=True)
class Source:
    """What a data module points at.

    Attributes:
        name: For messages and folder names.
        base_dir: Folder of the audio, store or upstream features.
        table: Annotations, where there are any.
        features: Reader of mel frames (`datasets.store.Store` or `datasets.upstream`'s).
        frontend: What the features were made with, or must have been.
    """

    name: str
    base_dir: Path
    table: Path | None
    features: Any
    frontend: MusiCNNMel


def say(line: str) -> None:
    """Tell the user one thing, once, on standard error, so that a command's own output stays clean."""
    if ranks.is_global_zero():
        print(line, file=sys.stderr, flush=True)


def open_source(settings: DatamoduleSettings) -> Source:
    """Find the features and annotations, rendering the demo corpus and computing features where that was not done yet.

    Raises:
        UserError: The folder does not exist.
        StoreError, AudioError: The features are of another front end; no audio could be read.
    """
    frontend = build_frontend(FRONTEND)
    if settings.base_dir is None:
        return _demo(settings, frontend)
    base = Path(settings.base_dir).expanduser()
    if not base.is_dir():
        what = "a file; give the folder it is in" if base.exists() else "no such folder"
        raise UserError(f"datamodule.base_dir={settings.base_dir}: {what}")
    table = Path(settings.groundtruth).expanduser() if settings.groundtruth else _table_near(base)
    return Source(base.resolve().name, base, table, _features(base, settings, frontend), frontend)


def _demo(settings: DatamoduleSettings, frontend: MusiCNNMel) -> Source:
    from datasets import demo

    folder = demo.build(settings.demo_size)
    say(f"datamodule.base_dir is not set: using the demo corpus in {folder}")
    features = _features(folder / "audio", settings, frontend, folder / "mels")
    return Source("demo", folder / "audio", folder / "tracks.csv", features, frontend)


def _table_near(base: Path) -> Path | None:
    return next((table for table in (base / "tracks.csv", base.parent / "tracks.csv") if table.is_file()), None)


def _features(base: Path, settings: DatamoduleSettings, frontend: MusiCNNMel, store_dir: Path | None = None) -> Any:
    if _holds_features(base):
        return open_features(base, fingerprint=frontend.fingerprint)
    from preprocess.build import build_store, changed_line

    store_dir = Path(settings.store_dir).expanduser() if settings.store_dir else store_dir
    if store_dir is None:
        place = hashlib.sha256(str(base.resolve()).encode()).hexdigest()[:8]
        store_dir = Path("outputs/mels") / f"{base.resolve().name}-{place}-{frontend.fingerprint[:8]}"
    report = build_store(base, store_dir, frontend=FRONTEND, jobs=settings.jobs)
    if report.written:
        say(f"log-mels of {report.written} tracks are in {store_dir}")
    if report.skipped:
        say(f"{len(report.skipped)} files were skipped, see {store_dir / 'skipped.csv'}")
    if report.changed:
        say(changed_line(report, "another datamodule.store_dir"))
    return open_features(store_dir, fingerprint=frontend.fingerprint)


def _holds_features(base: Path) -> bool:
    """Whether a folder is a store, or holds upstream's feature files and no audio, which may have a store beside it."""
    if (base / "header.json").is_file():
        return True
    found = False
    for path in base.rglob("*"):
        if path.suffix.lower() in AUDIO_SUFFIXES:
            return False
        found = found or path.suffix in UPSTREAM_SUFFIXES
    return found


def read_corpus(settings: DatamoduleSettings, source: Source) -> Corpus:
    """Read the annotations that belong to a source.

    Raises:
        UserError: None were given and none lie beside the audio.
        CorpusError: They cannot be read.
    """
    pickles = {
        "train": settings.groundtruth_train,
        "valid": settings.groundtruth_val,
        "test": settings.groundtruth_test,
    }
    given = {split: Path(file).expanduser() for split, file in pickles.items() if file}
    if given:
        return read_groundtruths(given, read_labels(settings.labels) if settings.labels else None)
    if source.table is None:
        raise UserError(
            f"no annotations for {source.base_dir}: give datamodule.groundtruth=TABLE.csv "
            f"(columns path, tags or genre, and optionally split), or put it there as tracks.csv"
        )
    return read_table(source.table, settings.columns.model_dump())


def read_labels(file: str) -> tuple[str, ...]:
    """Read class names, one a line; empty lines are left out.

    Raises:
        UserError: The file is missing or empty.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"labels={file}: no such file; expected one class name a line")
    labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not labels:
        raise UserError(f"labels={file}: no class names in it")
    return labels


@dataclass(frozen=True)
class Examples:
    """The tracks of one split that have both audio and an annotation.

    Attributes:
        ids: Labelled ids.
        stored: The same tracks' ids in the store.
        targets: Encoded annotations, one row a track.
    """

    ids: tuple[str, ...]
    stored: tuple[str, ...]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def build_task(name: str, corpus: Corpus, labels: str | None = None) -> Task:
    """Make a task with the classes of a corpus, or those of a file.

    Raises:
        UserError: No track has the annotation, or there are too few classes.
    """
    annotation = find(name).annotation
    present = sorted({key for track in corpus for key in track.annotations})
    if annotation not in present:
        others = [task for task, kind in TASKS.items() if kind.annotation in present]
        ask = (
            f", or ask for another task: datamodule.task={others[0]}, for probes probe.tasks=[{','.join(others)}]"
            if others
            else ""
        )
        raise UserError(
            f"{name}: no track of {corpus.name} has {annotation}, there is {' and '.join(present) or 'nothing'}; "
            f"name its column with datamodule.columns.{annotation}{ask}"
        )
    return build(name, classes=read_labels(labels) if labels else corpus.vocabulary(annotation))


def match(corpus: Corpus, stored: Sequence[str], where: Path) -> tuple[Corpus, Mapping[str, str]]:
    """Pair a corpus with what is stored, and say what stays alone.

    Returns:
        The tracks that are stored, and their stored ids.

    Raises:
        CorpusError: Nothing pairs.
    """
    matched = match_tracks([track.id for track in corpus], list(stored))
    for alone, what in ((matched.without_audio, "labelled but not in"), (matched.without_labels, "without labels in")):
        if alone:
            shown = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
            say(f"{len(alone)} tracks are {what} {where} and left out: {shown}")
    return corpus.only(matched.stored), matched.stored


def examples(task: Task, corpus: Corpus, stored: Mapping[str, str]) -> dict[str, Examples]:
    """Encode the annotations of every split; tracks without one are left out.

    Args:
        task: Encodes annotations.
        corpus: Tracks and splits, all of them stored.
        stored: Their ids in the store.

    Raises:
        UserError: A label that is not among the task's classes.
    """
    annotation = task.annotation
    made = {}
    for split in SPLITS:
        tracks = [track for track in corpus.split(split) if annotation in track.annotations]
        targets = [_encode(task, track) for track in tracks]
        made[split] = Examples(
            tuple(track.id for track in tracks),
            tuple(stored[track.id] for track in tracks),
            np.stack(targets) if targets else np.empty((0, task.n_outputs), np.float32),
        )
    return made


def _encode(task: Task, track: Track) -> np.ndarray:
    try:
        return task.encode(track.annotations[task.annotation])
    except UserError as error:
        raise UserError(
            f"{track.id} ({track.split}): {error}. The classes are those of the network or of the file of labels: "
            f"leave other labels out of the table, or train with them"
        ) from None


def need(splits: Mapping[str, Examples], *names: str) -> None:
    """Refuse empty splits, and a training split that shows no class.

    Raises:
        CorpusError: A named split has no track with audio and annotation, or no training track has a tag.
    """
    empty = [name for name in names if not len(splits[name])]
    if empty:
        sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.items())
        raise CorpusError(f"no tracks in split {' and '.join(empty)} ({sizes}); fill the column split of the table")
    if "train" in names and splits["train"].targets.ndim == 2 and not splits["train"].targets.any():
        raise CorpusError(f"none of {len(splits['train'])} training tracks has a tag; give some a tag or another split")


def spell(settings: DatamoduleSettings) -> str:
    """The words of a command line that name the same tracks, each after a space; none for the defaults."""
    if settings.base_dir is None:
        default = settings.demo_size == DatamoduleSettings.model_fields["demo_size"].default
        return "" if default else f" datamodule.demo_size={settings.demo_size}"
    named = {key: getattr(settings, key) for key in ("base_dir", "store_dir", "groundtruth") if getattr(settings, key)}
    for key, column in settings.columns:
        if column != key:
            named[f"columns.{key}"] = column if isinstance(column, str) else f"[{','.join(column)}]"
    return "".join(" " + shlex.quote(f"datamodule.{key}={value}") for key, value in named.items())


def clip_frames(seconds: float, frontend: MusiCNNMel) -> int:
    """Frames of a clip, `floor(seconds * rate / hop)`.

    Raises:
        UserError: Shorter than one patch of a network.
    """
    frames = int(seconds * frontend.sample_rate / frontend.hop)
    if frames < MIN_FRAMES:
        raise UserError(
            f"datamodule.clip_length={seconds} s: {frames} frames, at least {MIN_FRAMES} are needed (0.26 s)"
        )
    return frames
