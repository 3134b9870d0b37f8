"""The report on a corpus: what is in it, which problems distort results, and what its features are normalised with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from datasets.beat_cells import beats_cell
from datasets.beats import Beats
from datasets.cells import BRACKETS
from datasets.corpus import LABELS, SPLITS, Corpus, Track
from datasets.corpus_audit import Case, Finding, LabelRow, artist_finding, audio_findings, label_findings, label_rows
from datasets.corpus_summary import other_annotations, summary
from datasets.csv_writing import RecordWriter
from datasets.identity import composed
from datasets.labels import counted
from datasets.matching import Match, match_tracks
from datasets.measures import Distribution, distribution, same_features, seconds_of
from datasets.near_duplicates import merged, near_duplicates
from datasets.progress import progress
from datasets.system_folders import is_system_folder
from datasets.text import enumerated, pluralize, printable_lines
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings, PretrainSettings
from experiments.tasks import Task
from experiments.tasks.base import annotated
from experiments.tracking import RunHandle
from experiments.tracks.data import DataSource, identify, open_source, prepare_task, read_corpus, say_notes, spell
from experiments.tracks.other_tasks import empty_splits, other_tasks, readings, unreadable_ids
from experiments.tracks.picture import corpus_picture
from experiments.tracks.stored_audio import ComputedMels, mels_of_audio
from experiments.tracks.strata import label_of, labelled
from preprocess.quiet import quiet_libraries


def describe(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Report on the corpus that a training with the same settings would see.

    Log-mels are computed where that was not done yet, as for a training; from a store, nothing is decoded.

    Returns:
        Numbers of tracks, labels and findings, and mean and deviation of the training tracks' log-mels.
    """
    datamodule = settings.datamodule
    source = open_source(datamodule, mels_of_audio(datamodule))
    written = read_corpus(datamodule, source)
    matched = match_tracks([track.id for track in written], source.features.ids)
    paired = written.only(matched.stored)
    try:
        corpus, task = prepare_task(datamodule, paired)
    except UserError as error:
        raise UserError(f"{error}{_unpaired(matched, source)}") from None
    say_notes(corpus, written)
    usable = corpus.annotated(*task.annotations)
    used = labelled(task, usable)
    every = [track.id for track in corpus]
    with quiet_libraries():
        lengths = seconds_of(source.features, [matched.stored[one] for one in every], source.frontend.frame_rate)
    all_seconds = dict(zip(every, lengths.tolist(), strict=True))
    seconds = {track.id: all_seconds[track.id] for track in used}
    own = label_of(task)
    names = [name for name in dict.fromkeys([*LABELS, own]) if name in used.annotations or name in corpus.annotations]
    counted_on = {name: used if name == own else corpus.annotated(name) for name in names}
    rows = {name: label_rows(counted_on[name], name, all_seconds) for name in names}
    found = findings(datamodule, source, written, corpus, task, used, matched, seconds, rows)
    found += other_tasks(datamodule, paired, task)
    found = sorted((finding for finding in found if finding.cases), key=lambda finding: not finding.grave)
    by_split = {split: [track.id for track in used.split(split)] for split in SPLITS}
    run.set_info(target=task.name, data={**identify(corpus, by_split, task), "corpus": source.name})
    if run.is_global_zero:
        _write(run, datamodule.separators, usable, task, rows, found, seconds)
        lengths_of = {split: np.array([seconds[one] for one in inside]) for split, inside in by_split.items()}
        title = f"{source.name}: {own}"
        if rows.get(own):
            run.add_artifact(corpus_picture(rows[own], lengths_of, run.directory / "corpus.png", title))
        lines = summary(_headline(source, used, task, seconds), used, own, rows, found, seconds, counted_on)
        unreadable = {name: unreadable_ids(found, name) for name in corpus.annotations}
        lines += other_annotations(corpus, {*rows, *task.annotations}, unreadable)
        print(printable_lines("\n".join(lines)), flush=True)
    measured = _measure(source, [matched.stored[one] for one in by_split["train"]])
    if run.is_global_zero:
        if measured:
            print(printable_lines("\n".join(_normalisation_lines(measured, source, datamodule))))
        picture = ", corpus.png" * bool(rows.get(own))
        files = f"corpus_labels.csv, corpus_tracks.*, corpus_findings.csv{picture}"
        print(f"\nthe whole report: {files} in {run.directory}")
    return {
        "tracks": len(used),
        **{split: len(inside) for split, inside in by_split.items()},
        "labels": len(task.classes),
        "hours": sum(seconds.values()) / 3600,
        **{finding.kind.replace(" ", "_").replace(",", ""): len(finding.cases) for finding in found},
        **({"mel_mean": measured.mean, "mel_deviation": measured.deviation} if measured else {}),
    }


def findings(
    settings: DatamoduleSettings,
    source: DataSource,
    written: Corpus,
    corpus: Corpus,
    task: Task,
    used: Corpus,
    matched: Match,
    seconds: Mapping[str, float],
    rows: Mapping[str, Sequence[LabelRow]],
) -> list[Finding]:
    """Everything to look at before a training: tracks, audio, artists, labels and splits, some without any case."""
    name_of = {stored: one for one, stored in matched.stored.items()}
    annotation, what, inside = label_of(task), " and ".join(task.annotations), f"in {source.base_dir}"
    twins = [
        tuple(name_of[one] for one in group)
        for group in _same_recording(source, [matched.stored[track.id] for track in used], list(seconds.values()))
    ]
    found = [
        empty_splits(used),
        *readings(task, used, settings.columns.genre),
        *audio_findings(used, twins, list(rows)),
        artist_finding(used, "" if settings.splits == "grouped" else " (datamodule.splits=grouped keeps them apart)"),
        *label_findings(rows.get(annotation, ()), annotation),
    ]
    least = settings.clip_length or 0
    short = [one for one, length in seconds.items() if length < least]
    cases = {
        "unknown label": (
            _unknown(corpus, task),
            "label is|labels are",
            "not among datamodule.labels, which a training refuses",
        ),
        "not annotated": (
            [track.id for track in corpus if annotated(task.annotations, track.annotations) is None],
            "track is|tracks are",
            f"without {what} and not used",
        ),
        "no audio": (matched.without_audio, "track is|tracks are", f"labelled but not {inside}"),
        "other case": (matched.other_case, "path differs|paths differ", "in case only from what is stored"),
        "no labels": (matched.without_labels, "track has|tracks have", f"no labels {inside}"),
        "empty class": (_empty_folders(source, written), "folder holds|folders hold", "no audio that can be read"),
        "no tag": (
            [track.id for track in used if track.labels(annotation) == ()],
            "track is|tracks are",
            "annotated without a tag",
        ),
        "short": (short, "track is|tracks are", f"shorter than a clip of {least:g} s"),
    }
    for kind, (ids, subject, predicate) in cases.items():
        counted_ids = pluralize(len(ids), *subject.split("|"))
        found.append(Finding(kind, f"{counted_ids} {predicate}", tuple(map(Case, ids))))
    return found


def _same_recording(source: DataSource, ids: Sequence[str], seconds: Sequence[float]) -> list[tuple[str, ...]]:
    """Groups of tracks with equal features, or with those of one recording in different encodings."""
    with progress("Looking for duplicate recordings", len(ids), "tracks") as advance:
        mels = ComputedMels(source.features, source.frontend) if source.audio else source.features
        pairs = near_duplicates(mels, ids, seconds, source.frontend.frame_rate, advance)
    return merged([*same_features(source.features, ids), *pairs])


def _unpaired(matched: Match, source: DataSource) -> str:
    """Which tracks have no partner, as the end of a sentence."""
    ending = ""
    for ids, what in ((matched.without_audio, "labelled but not stored"), (matched.without_labels, "without labels")):
        if ids:
            tracks = pluralize(len(ids), "track is", "tracks are")
            ending += f"; in {source.base_dir} {tracks} {what}: {enumerated(ids, 3)}"
    return ending


def _unknown(corpus: Corpus, task: Task) -> list[str]:
    annotation = task.annotations[0]
    return sorted(set(counted(corpus, annotation)) - set(task.classes)) if annotation in LABELS else []


def _empty_folders(source: DataSource, written: Corpus) -> list[str]:
    """Folders that would be classes, had they any track; a link to another folder of audio is none."""
    if source.corpus is not None or (source.base_dir / "header.json").is_file():
        return []
    tops = {track.id.partition("/")[0] for track in written}
    folders = {
        composed(path.name)
        for path in source.base_dir.iterdir()
        if path.is_dir() and not path.name.startswith(".") and not is_system_folder(path.name)
        if not (path.is_symlink() and path.resolve().is_relative_to(source.base_dir.resolve()))
    }
    return sorted(folders - tops)


def _headline(source: DataSource, used: Corpus, task: Task, seconds: Mapping[str, float]) -> str:
    """Name of the corpus, and what it is used for."""
    names = ("value a track", "values a track") if task.kind == "values" else ("class",)
    tracks, hours = pluralize(len(used), "track"), sum(seconds.values()) / 3600
    what, outputs = " and ".join(task.annotations), pluralize(len(task.classes), *names)
    return f"{source.name}: {tracks} with {what}, {hours:,.2f} hours, {outputs}"


def _normalisation_lines(measured: Distribution, source: DataSource, settings: DatamoduleSettings) -> list[str]:
    """What the features of the training tracks are like, and the settings that normalise by it."""
    used = settings.norm.norm_mean, settings.norm.norm_std
    own = source.frontend.mean, source.frontend.std
    now = [default if given is None else given for given, default in zip(used, own, strict=True)]
    return [
        "",
        f"log-mels of the training tracks: mean {measured.mean:.4f}, deviation {measured.deviation:.4f} "
        f"over {measured.count:,} values; these settings normalise with {now[0]:g} and {now[1]:g}",
        f"to normalise with this corpus: datamodule.norm.norm_mean={measured.mean:.4f} "
        f"datamodule.norm.norm_std={measured.deviation:.4f}",
        f"to train on it: python ex_pretrain.py with maest_30s_random_weights_pretrain{spell(settings)}",
    ]


def _measure(source: DataSource, training: Sequence[str]) -> Distribution | None:
    """Of stored features; networks from audio are not normalised with the corpus."""
    if not training or source.audio:
        return None
    with progress("Measuring log-mels", len(training), "tracks") as advance:
        return distribution(source.features, training, advance)


def _write(
    run: RunHandle,
    separators: str,
    used: Corpus,
    task: Task,
    rows: Mapping[str, Sequence[LabelRow]],
    found: Sequence[Finding],
    seconds: Mapping[str, float],
) -> None:
    """Attach the tables: labels, findings, and the tracks in a form that can be read as annotations again."""
    labels = [asdict(row) for of_annotation in rows.values() for row in of_annotation]
    _table(run, "corpus_labels.csv", [field.name for field in fields(LabelRow)], labels)
    cases = [{"kind": finding.kind, **asdict(case)} for finding in found for case in finding.cases]
    _table(run, "corpus_findings.csv", ["kind", *(field.name for field in fields(Case))], cases)
    names = [name for name in dict.fromkeys([*LABELS, *task.annotations, "artist"]) if name in used.annotations]
    apart = {*separators, *",\n\r"}  # in a cell of CSV, a label with one of these looks like several
    if any(apart & set(row.label) or row.label.startswith(tuple(BRACKETS)) for row in rows.get("tags", ())):
        path = run.directory / "corpus_tracks.jsonl"
        lines = (json.dumps(_plain(track, seconds, names)) for track in used)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        run.add_artifact(path)
        return
    join = separators[0].join
    plain = (_plain(track, seconds, names) for track in used)
    written = [
        {key: join(value) or "-" if isinstance(value, tuple) else value for key, value in row.items()} for row in plain
    ]
    _table(run, "corpus_tracks.csv", ["path", "split", "seconds", *names], written)


def _plain(track: Track, seconds: Mapping[str, float], names: Sequence[str]) -> dict[str, Any]:
    given = {name: track.annotations[name] for name in names if name in track.annotations}
    given |= {name: beats_cell(value) for name, value in given.items() if isinstance(value, Beats)}
    return {"path": track.id, "split": track.split, "seconds": round(seconds[track.id], 3), **given}


def _table(run: RunHandle, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    path: Path = run.directory / name
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = RecordWriter(handle, columns)
        writer.writeheader()
        writer.writerows(rows)
    run.add_artifact(path)
