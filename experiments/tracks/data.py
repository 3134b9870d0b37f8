"""From the settings of a data module to tracks, features and encoded annotations."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import plain_json
from datasets.columns import likely, option
from datasets.corpus import LABELS, Corpus
from datasets.identity import FEATURE_SUFFIXES
from datasets.text import pluralize
from datasets.upstream import open_features
from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import DatamoduleSettings
from experiments.tasks import TASKS, Task, build, find
from experiments.tracks import annotations
from experiments.tracks.readable import drop_several, drop_unreadable, implausible, other_tasks_hint
from models.fingerprint import fingerprint
from models.frontends import MusiCNNMel
from models.frontends import build as build_frontend
from preprocess.files import SUFFIXES as AUDIO_SUFFIXES
from preprocess.files import find as find_audio

FRONTEND = "musicnn"
MIN_FRAMES = 16  # one patch
NAMING = (  # settings that decide which tracks there are, with which splits and labels
    "base_dir",
    "demo_size",
    "store_dir",
    "groundtruth",
    "groundtruth_train",
    "groundtruth_val",
    "groundtruth_test",
    "labels",
    "unknown_labels",
    "min_tracks",
    "merge_spellings",
    "separators",
    "splits",
    "split_shares",
    "split_seed",
    "task",
)


@dataclass(frozen=True)
class DataSource:
    """What a data module points at.

    Attributes:
        name: For messages and folder names.
        base_dir: Folder of the audio, store or upstream features.
        features: Reader of mel frames (`datasets.store.Store` or `datasets.upstream`'s).
        frontend: What the features were made with, or must have been.
        corpus: What a file of annotations says; None where folders are the classes, or where none are needed.
    """

    name: str
    base_dir: Path
    features: Any
    frontend: MusiCNNMel
    corpus: Corpus | None = None


def there_is(names: Iterable[str]) -> str:
    """Which annotations a corpus has, as the end of a sentence."""
    return f"there is {' and '.join(names)}" if (names := list(names)) else "it has no annotation at all"


def open_source(settings: DatamoduleSettings, labelled: bool = True) -> DataSource:
    """Find the features and annotations, rendering the demo corpus and computing features where that was not done yet.

    Annotations are settled first: a mistake in them, or in the settings about them, does not wait for hours of work on
    the audio.

    Args:
        settings: What to open.
        labelled: Whether annotations are needed.

    Raises:
        UserError: The folder does not exist, or there are no annotations.
        StoreError, AudioError: The features are of another front end; no audio could be read.
        CorpusError: The annotations cannot be read.
    """
    frontend = build_frontend(FRONTEND)
    if settings.base_dir is None:
        return _demo(settings, labelled, frontend)
    base = Path(settings.base_dir).expanduser()
    if not base.is_dir():
        what = "a file; give the folder it is in" if base.exists() else "no such folder"
        what += "; python -m preprocess CORPUS makes it" if base.name == "mels" and not base.exists() else ""
        raise UserError(f"datamodule.base_dir={settings.base_dir}: {what}")
    if labelled and (table := annotations.table_found(settings, base)):
        say(f"labels: {table}")
    corpus, stored = annotations.from_files(settings, base) if labelled else None, _holds_features(base)
    if labelled and corpus is None and not stored:
        annotations.from_folders(settings, base, [audio.id for audio in find_audio(base).files])
    features = _features(base, settings, frontend, None if stored else _store_dir(base, settings, frontend))
    return DataSource(base.resolve().name, base, features, frontend, corpus)


def _demo(settings: DatamoduleSettings, labelled: bool, frontend: MusiCNNMel) -> DataSource:
    from datasets import demo

    folder = demo.build(settings.demo_size)
    say(f"datamodule.base_dir is not set: using the demo corpus in {folder}")
    base = folder / "audio"
    corpus = annotations.from_files(settings, base) if labelled else None
    store_dir = Path(settings.store_dir).expanduser() if settings.store_dir else folder / "mels"
    return DataSource("demo", base, _features(base, settings, frontend, store_dir), frontend, corpus)


def _store_dir(base: Path, settings: DatamoduleSettings, frontend: MusiCNNMel) -> Path:
    """Where the log-mels of a folder of audio are kept."""
    if settings.store_dir:
        return Path(settings.store_dir).expanduser()
    place = hashlib.sha256(str(base.resolve()).encode()).hexdigest()[:8]
    return Path("outputs/mels") / f"{base.resolve().name}-{place}-{frontend.fingerprint[:8]}"


def _features(base: Path, settings: DatamoduleSettings, frontend: MusiCNNMel, store_dir: Path | None) -> Any:
    """The features of a folder that holds them, or those of its audio in a store, computed where they are missing."""
    if store_dir is None:
        return open_features(base, fingerprint=frontend.fingerprint)
    from preprocess.build import build_store, changed_line

    report = build_store(base, store_dir, frontend=FRONTEND, jobs=settings.jobs)
    if report.written:
        say(f"log-mels of {pluralize(report.written, 'track')} are in {store_dir}")
    if report.skipped:
        say(f"{pluralize(len(report.skipped), 'file')} skipped, see {store_dir / 'skipped.csv'}")
    if report.passed_over:
        say(f"{base}: folders of the system are passed over: {', '.join(report.passed_over)}")
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
        found = found or path.suffix in FEATURE_SUFFIXES
    return found


def read_corpus(settings: DatamoduleSettings, source: DataSource) -> Corpus:
    """The annotations that belong to a source, its tracks split where the table does not; reports how.

    Raises:
        UserError: No table was given, none lies beside the audio, and its folders are no classes.
        CorpusError: Folders are the classes, and there are too few.
    """
    corpus = source.corpus or annotations.from_folders(settings, source.base_dir, source.features.ids)
    corpus = replace(corpus, name=corpus_name(source, corpus.name))
    say_notes(corpus)
    return corpus


def corpus_name(source: DataSource, table: str) -> str:
    """The name of a corpus: the published one, and that of its table unless this is just `tracks`."""
    try:
        about = plain_json.parse((source.base_dir / "corpus.json").read_bytes())
    except (OSError, ValueError):
        about = {}
    entries = about.items() if isinstance(about, dict) else ()
    published = "+".join(name for name, facts in entries if isinstance(facts, dict) and "protocols" in facts)
    if table == "tracks":
        return published or source.name
    return f"{published} {table}".strip()


def say_notes(corpus: Corpus, before: Corpus | None = None) -> None:
    """Report the notes of a corpus, without those that it had before."""
    for note in corpus.notes[len(before.notes) if before else 0 :]:
        say(note)


def build_task(settings: DatamoduleSettings, corpus: Corpus, name: str | None = None) -> tuple[Corpus, Task]:
    """Make a task as `prepare_task` does, and report new notes on the corpus and implausible values."""
    chosen, task = prepare_task(settings, corpus, name)
    warnings = [f"{one.said}: {annotations.shown(map(str, one.cases), 3)}" for one in implausible(task, chosen)]
    chosen = replace(chosen, notes=(*chosen.notes, *warnings))
    say_notes(chosen, corpus)
    return chosen, task


def prepare_task(settings: DatamoduleSettings, corpus: Corpus, name: str | None = None) -> tuple[Corpus, Task]:
    """Make a task with the classes of a corpus, or those of the settings; prints nothing.

    Args:
        settings: Which labels count.
        corpus: Tracks with features.
        name: Of the task; None: that of the settings.

    Returns:
        The corpus without the labels that do not count, with a note on them, and the task.

    Raises:
        UserError: No track has the annotation, none can be read, or there are too few classes.
    """
    name = name or annotations.task_of(settings.task, corpus)
    kind = find(name)
    if missing := [one for one in kind.annotations if one not in corpus.annotations]:
        raise _not_annotated(name, corpus, kind.annotations, missing[0])
    drop = settings.unknown_labels == "drop"
    if kind.annotations[0] in LABELS:
        corpus = drop_several(corpus, kind.annotations[0]) if drop else corpus
        chosen, classes = annotations.choose_labels(settings, corpus, kind.annotations[0])
        return chosen, build(name, classes=classes)
    task = build(name, **annotations.measured(corpus, kind))
    chosen = drop_unreadable(corpus, task) if drop else corpus
    return chosen, task if chosen is corpus else build(name, **annotations.measured(chosen, kind))


def _not_annotated(name: str, corpus: Corpus, needed: Sequence[str], missing: str) -> UserError:
    """The error for a task of whose annotations a corpus lacks one: which column it may be, and other tasks."""
    known = dict.fromkeys(one for other in TASKS.values() for one in other.annotations)
    present = [one for one in known if one in corpus.annotations]
    single = " (or datamodule.columns.genre, where tracks have one label each)"
    columns = f"; the table has {', '.join(map(repr, corpus.columns))}" if corpus.columns else ""
    guesses = "".join(
        f"column {column!r} may be the {one}: {option(f'columns.{one}', column)}; or "
        for one, column in likely(corpus.columns).items()
        if one not in present
    )
    return UserError(
        f"{name}: no track of {corpus.name} has {missing}, {there_is(present)}; {guesses}"
        f"name its column with datamodule.columns.{missing}{single if name == 'tagging' and not present else ''}"
        f"{other_tasks_hint(corpus, needed)}{columns}"
    )


def fit_labels(settings: DatamoduleSettings, corpus: Corpus, task: Task) -> Corpus:
    """Fit the labels of a corpus to the classes of a trained network, and report what was changed.

    Raises:
        UserError: No track has what the network was trained for.
    """
    for annotation in task.annotations:
        if annotation not in corpus.annotations:
            raise UserError(
                f"{task.name}: the network was trained for {annotation}, and no track of {corpus.name} has any; "
                f"{there_is(corpus.annotations)}; name a column with "
                f"datamodule.columns.{annotation}"
            )
    drop = settings.unknown_labels == "drop"
    if task.annotations[0] in LABELS:
        fitted = drop_several(corpus, task.annotations[0]) if drop else corpus
        fitted = annotations.conform(settings, fitted, task.annotations[0], task.classes)
    else:
        fitted = drop_unreadable(corpus, task) if drop else corpus
    say_notes(fitted, corpus)
    return fitted


def identify(corpus: Corpus, splits: Mapping[str, Sequence[str]], task: Task) -> dict[str, Any]:
    """The conditions that figures on a corpus hold under: splits, classes and numbers of tracks, as plain values.

    `split_fingerprint` is equal for equal tracks in equal splits, `classes_fingerprint` for equal classes in order.

    Args:
        corpus: Where the tracks are from.
        splits: Ids of the tracks used, by split.
        task: What they are used for.
    """
    return {
        "corpus": corpus.name,
        "splits": corpus.split_by,
        "split_fingerprint": fingerprint({name: sorted(ids) for name, ids in splits.items()}),
        "tracks": {name: len(ids) for name, ids in splits.items()},
        "classes": len(task.classes),
        "classes_fingerprint": fingerprint({"classes": task.classes}),
        "notes": list(corpus.notes),
    }


def spell(settings: DatamoduleSettings) -> str:
    """The words of a command line that name the same tracks, each after a space; none for the defaults."""
    usual = DatamoduleSettings.model_fields
    named = {key: value for key in NAMING if (value := getattr(settings, key)) != usual[key].default}
    if settings.base_dir is not None:
        named.pop("demo_size", None)
        named |= {f"columns.{key}": column for key, column in settings.columns if column != key}
    spelled = {
        key: f"[{','.join(map(str, value))}]" if isinstance(value, list) else value for key, value in named.items()
    }
    return "".join(" " + shlex.quote(f"datamodule.{key}={value}") for key, value in spelled.items())


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
