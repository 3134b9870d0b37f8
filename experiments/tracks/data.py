"""From the settings of a data module to tracks, features and encoded annotations."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from datasets.columns import likely, option
from datasets.corpora import CORPORA
from datasets.corpus import LABELS, Corpus
from datasets.folders import are_classes
from datasets.store import Reader, Store
from datasets.store_format import producer_differences
from datasets.text import enumerated, pluralize
from datasets.upstream import open_features
from experiments.errors import UserError
from experiments.messages import say
from experiments.named_paths import missing_folder, prepared_place
from experiments.settings import DatamoduleSettings
from experiments.tasks import TASKS, Task, build, find
from experiments.tracks import annotations, beat_sources
from experiments.tracks.published import corpus_name, version_of
from experiments.tracks.readable import drop_several, drop_unreadable, implausible, other_tasks_hint
from models.fingerprint import fingerprint
from models.frontends import FrontEnd
from models.frontends import build as build_frontend
from preprocess.audio import SampleType, audio_name
from preprocess.files import find as find_audio
from preprocess.files import holds_features

WITHOUT_NETWORK = "musicnn"  # features of tracks where no network says which it wants
USUAL_RATE = 22_050  # Hz, of audio that is stored for no network in particular
MADE_ELSEWHERE = "musicnn"  # features in folders of MAEST's code base, which do not say what made them
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
        features: Reader of tracks, frames of features or samples of audio.
        frontend: What the features were made with, or what is computed of the audio.
        corpus: What a file of annotations says; None where folders are the classes, or where none are needed.
        audio: Whether tracks are audio.
    """

    name: str
    base_dir: Path
    features: Reader
    frontend: FrontEnd
    corpus: Corpus | None = None
    audio: bool = False


def there_is(names: Iterable[str]) -> str:
    """Which annotations a corpus has, as the end of a sentence."""
    return f"there is {' and '.join(names)}" if (names := list(names)) else "it has no annotation at all"


def open_source(
    settings: DatamoduleSettings,
    frontend: FrontEnd | None = None,
    input: Literal["features", "audio"] = "features",
    labelled: bool = True,
    task: Task | None = None,
) -> DataSource:
    """Find the tracks and annotations, rendering the demo corpus and filling stores where that was not done yet.

    Annotations are settled first: a mistake in them, or in the settings about them, does not wait for hours of work on
    the audio.

    Args:
        settings: What to open.
        frontend: Of the network; None: there is no network.
        input: What the network takes where `settings.input` does not say it and `settings.base_dir` is no store.
        labelled: Whether annotations are needed.
        task: Of a trained network; None: that of the settings.

    Raises:
        UserError: The folder does not exist, there are no annotations, or it is a store of what the network does not
            take.
        StoreError, AudioError: A store is damaged; no audio could be read.
        CorpusError: The annotations cannot be read.
    """
    rate, any_rate = frontend.sample_rate if frontend else USUAL_RATE, frontend is None
    frontend = frontend or build_frontend(WITHOUT_NETWORK)
    if settings.base_dir is None:
        return _demo(settings, labelled, frontend, (settings.input or input) == "audio")
    base = Path(settings.base_dir).expanduser()
    if what := missing_folder(settings.base_dir):
        if not base.exists() and prepared_place(base):
            sort = f" --audio {rate}" if base.name.startswith("audio") else ""
            corpus = base.parent.name if base.parent.name in CORPORA else "CORPUS"
            what += f"; python -m preprocess {corpus} DATA_DIR {base}{sort} makes it"
        raise UserError(f"datamodule.base_dir={settings.base_dir}: {what}")
    if labelled and (table := annotations.table_found(settings, base)):
        say(f"labels: {table}")
    corpus, stored = annotations.from_files(settings, base, task) if labelled else None, holds_features(base)
    if corpus is not None and (note := annotations.pooling_note(settings, corpus)):
        say(note)
    if labelled and corpus is None and not stored:
        annotations.from_folders(settings, base, [audio.id for audio in find_audio(base).files], task)
    if stored:
        features = _opened(base, frontend, settings, any_rate)
        return DataSource(base.resolve().name, base, features, frontend, corpus, features.header.kind == "audio")
    audio = (settings.input or input) == "audio"
    features = _computed(base, _store_dir(base, settings, frontend, audio), settings, frontend, audio)
    return DataSource(base.resolve().name, base, features, frontend, corpus, audio)


def is_annotated(settings: DatamoduleSettings) -> bool:
    """Whether there are annotations: those that the settings name, a table near the audio, or folders that can only be
    classes. A folder that does not exist counts as annotated.

    Raises:
        AudioError, StoreError: The audio cannot be listed; a store is damaged.
    """
    base = Path(settings.base_dir).expanduser() if settings.base_dir else None
    named = settings.groundtruth or settings.groundtruth_train or settings.groundtruth_val or settings.groundtruth_test
    if base is None or named or not base.is_dir():
        return settings.groundtruth != annotations.TEACHER
    if annotations.table_near(base):
        return True
    return are_classes(open_features(base).ids if holds_features(base) else [one.id for one in find_audio(base).files])


def _demo(settings: DatamoduleSettings, labelled: bool, frontend: FrontEnd, audio: bool) -> DataSource:
    from datasets import demo

    folder = demo.build(settings.demo_size)
    say(f"datamodule.base_dir is not set: using the demo corpus in {folder}")
    base = folder / "audio"
    corpus = annotations.from_files(settings, base) if labelled else None
    usual = frontend.fingerprint == build_frontend(WITHOUT_NETWORK).fingerprint
    own = f"audio-{_samples(settings, frontend)}" if audio else "mels" if usual else f"mels-{frontend.fingerprint[:8]}"
    store_dir = Path(settings.store_dir).expanduser() if settings.store_dir else folder / own
    return DataSource("demo", base, _computed(base, store_dir, settings, frontend, audio), frontend, corpus, audio)


def _store_dir(base: Path, settings: DatamoduleSettings, frontend: FrontEnd, audio: bool) -> Path:
    """Where the features of a folder of audio, or its samples, are kept."""
    if settings.store_dir:
        return Path(settings.store_dir).expanduser()
    place = hashlib.sha256(str(base.resolve()).encode()).hexdigest()[:8]
    kind, made = ("audio", _samples(settings, frontend)) if audio else ("mels", frontend.fingerprint[:8])
    return Path("outputs") / kind / f"{base.resolve().name}-{place}-{made}"


def _samples(settings: DatamoduleSettings, frontend: FrontEnd) -> str:
    """Rate and type of stored samples, in the name of their folder."""
    return f"{frontend.sample_rate}{'-float32' if settings.store_type == 'float32' else ''}"


def _opened(base: Path, frontend: FrontEnd, settings: DatamoduleSettings, any_rate: bool = False) -> Reader:
    """A folder that holds features, or audio, whose rate may be any where no network is to see it.

    Raises:
        UserError: They are not what the network takes.
    """
    features, input = open_features(base), settings.input
    header, producer = features.header, features.header.producer or {}
    if header.kind == "audio":
        if settings.store_type == "float32" != header.dtype:
            raise UserError(
                f"{base} holds audio in {header.dtype}, not float32 (datamodule.store_type): give the folder of the "
                f"audio files, or a store of python -m preprocess AUDIO_DIR STORE_DIR --audio {frontend.sample_rate} "
                "--exact"
            )
        if input == "features":
            raise UserError(f"{base} holds audio: leave datamodule.input=features out, or give a store of features")
        if (rate := producer.get("sample_rate")) != frontend.sample_rate and not any_rate:
            raise UserError(
                f"{base} holds audio at {rate} Hz, the front end {frontend.name} takes {frontend.sample_rate} Hz; "
                "give a store of that rate, or the folder of the audio files"
            )
        return features
    if input == "audio":
        raise UserError(
            f"{base} holds {header.kind}, and datamodule.input=audio takes audio: give the folder of the audio files, "
            "or a store of audio"
        )
    makers = frontend.parameters_dict
    other = header.fingerprint != frontend.fingerprint and producer != makers  # of 10000 and 10000.0 alike
    if not isinstance(features, Store):
        producer, other = build_frontend(MADE_ELSEWHERE).parameters_dict, frontend.name != MADE_ELSEWHERE
    if other:
        maker = producer.get("front_end", f"another front end ({header.fingerprint})")
        raise UserError(
            f"{base} holds {header.kind} of {maker}, the network takes those of {makers['front_end']}"
            f"{f' ({producer_differences(producer, makers)})' if maker == makers['front_end'] else ''}; give the "
            "folder of the audio files, or a network of that front end"
        )
    return features


def recipe_of(frontend: FrontEnd, audio: bool, store_type: SampleType) -> str | FrontEnd:
    """What `preprocess` makes of files: the features of a front end, or the audio that it takes."""
    return audio_name(frontend.sample_rate, store_type) if audio else frontend


def _computed(base: Path, store_dir: Path, settings: DatamoduleSettings, frontend: FrontEnd, audio: bool) -> Reader:
    """The features, or the samples, of a folder of audio in a store, computed where they are missing."""
    from preprocess.build import build_store
    from preprocess.build_report import changed_line

    if not audio and settings.store_type == "float32":
        raise UserError(
            "datamodule.store_type=float32 is about stored samples, and this network takes stored features: leave it "
            "out, or store audio, datamodule.input=audio"
        )
    if not audio and any(True for _ in frontend.parameters()):
        raise UserError(
            f"the front end {frontend.name} is learned, so its output is not stored: datamodule.input=audio"
        )
    report = build_store(base, store_dir, frontend=recipe_of(frontend, audio, settings.store_type), jobs=settings.jobs)
    if report.written:
        what = "audio" if audio else "log-mels" if len(frontend.item_shape) == 1 else "features"
        say(f"{what} of {pluralize(report.written, 'track')} {'is' if audio else 'are'} in {store_dir}")
    if report.skipped:
        say(f"{pluralize(len(report.skipped), 'file')} skipped, see {store_dir / 'skipped.csv'}")
    if report.passed_over:
        say(f"{base}: folders of the system are passed over: {', '.join(report.passed_over)}")
    if report.changed:
        say(changed_line(report, "another datamodule.store_dir"))
    return open_features(store_dir)


def read_corpus(settings: DatamoduleSettings, source: DataSource, task: Task | None = None) -> Corpus:
    """The annotations of a source, with those that a task (None: the settings') needs, split; reports how.

    Raises:
        UserError: No table was given, none lies beside the audio, and its folders are no classes.
        CorpusError: Folders are the classes, and there are too few.
    """
    corpus = source.corpus or annotations.from_folders(settings, source.base_dir, source.features.ids, task)
    base = source.base_dir
    corpus = replace(corpus, name=corpus_name(base, source.name, corpus.name), version=version_of(base))
    wanted = beat_sources.needed(settings, task)
    corpus = beat_sources.of_audio(corpus, base, source.features, source.frontend.frame_rate, wanted)
    say_notes(corpus)
    return corpus


def say_notes(corpus: Corpus, before: Corpus | None = None) -> None:
    """Report the notes of a corpus, without those that it had before."""
    for note in corpus.notes[len(before.notes) if before else 0 :]:
        say(note)


def build_task(
    settings: DatamoduleSettings, corpus: Corpus, name: str | None = None, taught: Collection[str] = ()
) -> tuple[Corpus, Task]:
    """Make a task as `prepare_task` does, and report new notes on the corpus and implausible values."""
    chosen, task = prepare_task(settings, corpus, name, taught)
    warnings = [f"{one.said}: {enumerated(map(str, one.cases), 3)}" for one in implausible(task, chosen)]
    chosen = replace(chosen, notes=(*chosen.notes, *warnings, *filter(None, [task.unlearned])))
    say_notes(chosen, corpus)
    return chosen, task


def prepare_task(
    settings: DatamoduleSettings, corpus: Corpus, name: str | None = None, taught: Collection[str] = ()
) -> tuple[Corpus, Task]:
    """Make a task with the classes of a corpus, or those of the settings; prints nothing.

    Args:
        settings: Which labels count.
        corpus: Tracks with features.
        name: Of the task; None: that of the settings.
        taught: Labels that a teacher knows.

    Returns:
        The corpus without the labels that do not count, with a note on them, and the task.

    Raises:
        UserError: No track has the annotation, none can be read, or there are too few classes.
    """
    name = name or annotations.task_of(settings.task, corpus)
    kind = find(name)
    corpus = beat_sources.with_tempo(corpus, kind.annotations)
    if missing := [one for one in kind.annotations if one not in corpus.annotations]:
        raise _not_annotated(name, corpus, kind.annotations, missing[0])
    drop = settings.unknown_labels == "drop"
    if kind.annotations[0] in LABELS:
        corpus = drop_several(corpus, kind.annotations[0]) if drop else corpus
        chosen, classes = annotations.choose_labels(settings, corpus, kind.annotations[0], taught)
        return chosen, build(name, classes=classes)
    task = build(name, **annotations.measured(corpus, kind))
    chosen = drop_unreadable(corpus, task) if drop else corpus
    return chosen, task if chosen is corpus else build(name, **annotations.measured(chosen, kind))


def _not_annotated(name: str, corpus: Corpus, needed: Sequence[str], missing: str) -> UserError:
    """The error for a task of whose annotations a corpus lacks one: which column it may be, and other tasks."""
    known = dict.fromkeys(one for other in TASKS.values() for one in other.annotations)
    present = [one for one in known if one in corpus.annotations]
    single = " (or datamodule.columns.genre, where tracks have one label each)" if not present else ""
    other = {"tagging": single, "beats": " (or files of beats, datamodule.groundtruth=FOLDER)"}.get(name, "")
    columns = f"; the table has {', '.join(map(repr, corpus.columns))}" if corpus.columns else ""
    guesses = "".join(
        f"column {column!r} may be the {one}: {option(f'columns.{one}', column)}; or "
        for one, column in likely(corpus.columns).items()
        if one not in present
    )
    return UserError(
        f"{name}: no track of {corpus.name} has {missing}, {there_is(present)}; {guesses}"
        f"name its column with datamodule.columns.{missing}{other}{other_tasks_hint(corpus, needed)}{columns}"
    )


def fit_labels(settings: DatamoduleSettings, corpus: Corpus, task: Task) -> Corpus:
    """Fit the labels of a corpus to the classes of a trained network, and report what was changed.

    Raises:
        UserError: No track has what the network was trained for.
    """
    written, corpus = corpus, beat_sources.with_tempo(corpus, task.annotations)
    for annotation in task.annotations:
        if annotation not in corpus.annotations:
            raise UserError(
                f"{task.name}: the network was trained for {annotation}, and no track of {corpus.name} has any; "
                f"{there_is(corpus.annotations)}; name a column with datamodule.columns.{annotation}"
            )
    drop = settings.unknown_labels == "drop"
    if task.annotations[0] in LABELS:
        fitted = drop_several(corpus, task.annotations[0]) if drop else corpus
        fitted = annotations.conform(settings, fitted, task.annotations[0], task.classes)
    else:
        fitted = drop_unreadable(corpus, task) if drop else corpus
    say_notes(fitted, written)
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
        **({"annotations": corpus.version} if corpus.version else {}),
        "splits": corpus.split_by,
        "split_fingerprint": fingerprint({name: sorted(ids) for name, ids in splits.items()}),
        "tracks": {name: len(ids) for name, ids in splits.items()},
        "classes": len(task.classes),
        "classes_fingerprint": fingerprint({"classes": task.classes}),
        "notes": list(corpus.notes),
    }


def spell(settings: DatamoduleSettings, annotated: bool = False) -> str:
    """The words of a command line that name the same tracks, each after a space; none for the defaults.

    Args:
        settings: Where the tracks are.
        annotated: Whether the command needs annotations, so that those of a teacher are not named.
    """
    usual = DatamoduleSettings.model_fields
    if annotated and settings.groundtruth == annotations.TEACHER:
        settings = settings.model_copy(update={"groundtruth": None})
    named = {key: value for key in NAMING if (value := getattr(settings, key)) != usual[key].default}
    if settings.base_dir is not None:
        named.pop("demo_size", None)
        named |= {f"columns.{key}": column for key, column in settings.columns if column != key}
    spelled = {
        key: f"[{','.join(map(str, value))}]" if isinstance(value, list) else value for key, value in named.items()
    }
    return "".join(" " + shlex.quote(f"datamodule.{key}={value}") for key, value in spelled.items())
