"""The report on a corpus of tempi or beats: which recordings can be used, and what their tempi and metres are like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from datasets.beats import Beats
from datasets.corpora import integrity
from datasets.corpora.integrity import REFUSED, Verdict
from datasets.corpus import SPLITS, Corpus, Track
from datasets.csv_writing import write_records
from datasets.matching import match_tracks
from datasets.rhythm_audit import (
    AnnotatedTempo,
    BeatRow,
    TempoRow,
    beat_row,
    beyond,
    is_irregular,
    metres,
    tempo_rows,
)
from datasets.text import enumerated, pluralize, printable_lines
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle
from experiments.tracks.data import open_source, read_corpus
from experiments.tracks.published import published_counts
from experiments.tracks.rhythm_pictures import beats_picture, tempo_histogram
from experiments.tracks.stored_audio import mels_of_audio

TEMPO_RANGE = (40.0, 250.0)  # BPM that a tempo is estimated in
MOST_SHOWN = 12
RHYTHM = ("tempo", "beats")


def describe(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Report on the tempi and beats of a corpus, or, where it has neither, as `ex_pretrain.py describe` does.

    Returns:
        Numbers of tracks by split, of those refused, and of those out of the range; mean and deviation of the tempi.
    """
    source = open_source(settings.datamodule, mels_of_audio(settings.datamodule))
    corpus = read_corpus(settings.datamodule, source)
    if not set(RHYTHM) & set(corpus.annotations):
        from experiments.tracks.description import describe as describe_labels

        return describe_labels(settings, run)
    stored = match_tracks([track.id for track in corpus], source.features.ids).stored
    used, tracks = corpus.only(stored), {track.id: track for track in corpus}
    verdicts = integrity.read(source.base_dir) or _verdicts(corpus, stored)
    verdicts = [_with_annotation(one, tracks.get(one.track), corpus) for one in verdicts]
    tempi, rows = _tempi(used, verdicts), _beats(used)
    genres = tempo_rows(tempi, *TEMPO_RANGE) if tempi else []
    limits = settings.rhythm.limits
    counts = {split: len(used.split(split)) for split in SPLITS}
    run.set_info(data={"corpus": corpus.name, "annotations": corpus.version, "tracks": counts})
    if run.is_global_zero:
        files = _write(run, corpus.name, verdicts, tempi, genres, rows, limits)
        published = published_counts(source.base_dir, source.corpus.name) if source.corpus else {}
        lines = [*_headline(used, counts, published), "", *_faults(verdicts)]
        lines += ["", *_tempo_lines(genres)] if genres else []
        lines += ["", *_beat_lines(rows, limits)] if rows else []
        lines += ["", f"the whole report: {', '.join(files)} in {run.directory}"]
        print(printable_lines("\n".join(lines)), flush=True)
    everything = {"tempo_mean": genres[-1].mean, "tempo_std": genres[-1].std} if genres else {}
    return {
        "tracks": len(used),
        **counts,
        "refused": sum(one.verdict == REFUSED for one in verdicts),
        **({"in_range": genres[-1].in_range} if genres else {}),
        **everything,
        **({"irregular": sum(map(is_irregular, rows)), "out_of_range": len(beyond(rows, *limits))} if rows else {}),
    }


def _verdicts(corpus: Corpus, stored: Mapping[str, str]) -> list[Verdict]:
    """The verdicts on a corpus that was not checked: whether there is audio."""
    return [
        Verdict(
            track.id, *(("accepted", "") if track.id in stored else (REFUSED, "no audio, or none that can be read"))
        )
        for track in corpus
    ]


def _with_annotation(verdict: Verdict, track: Track | None, corpus: Corpus) -> Verdict:
    """The verdict on a recording and its annotation: beats that nothing follows from refuse it, if it has no tempo."""
    if track is None or verdict.verdict == REFUSED:
        return verdict
    beats, tempo = track.annotations.get("beats"), track.annotations.get("tempo")
    if isinstance(beats, Beats) and len(beats) > 1:
        return verdict
    if isinstance(beats, Beats):
        fault = "one annotated beat alone" if len(beats) else "no annotated beat within the audio"
    else:
        fault = corpus.unreadable.get(track.id, "" if tempo is not None else "no annotation of beats or tempo")
    if tempo is None:
        return replace(verdict, verdict=REFUSED, reason=fault)
    return replace(verdict, reason=verdict.reason or fault)


def _tempi(used: Corpus, verdicts: Sequence[Verdict]) -> list[AnnotatedTempo]:
    """Annotated tempi that are numbers, those of refused recordings with no split."""
    found = [
        AnnotatedTempo(track.id, str(track.annotations.get("genre", "")), float(bpm), track.split)
        for track in used
        if isinstance(bpm := track.annotations.get("tempo"), int | float)
    ]
    refused = [one for one in verdicts if one.verdict == REFUSED and one.tempo]
    return found + [AnnotatedTempo(one.track, one.genre, float(one.tempo), "") for one in refused]


def _beats(used: Corpus) -> list[BeatRow]:
    annotated = ((track, track.annotations.get("beats")) for track in used)
    return [beat_row(track.id, track.split, beats) for track, beats in annotated if isinstance(beats, Beats)]


def _headline(used: Corpus, counts: Mapping[str, int], published: Mapping[str, int]) -> list[str]:
    present = {split: count for split, count in counts.items() if count}
    standing = (
        ", as published" if present == published else f"; published are {_listed(published)}" if published else ""
    )
    lines = [f"{used.name}: {pluralize(len(used), 'track')} ({_listed(present)}){standing}"]
    return lines + ([f"annotations: {used.version}"] if used.version else [])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _faults(verdicts: Sequence[Verdict]) -> list[str]:
    """Recordings that cannot be used, with the reason; of many alike, the first and how many."""
    refused = [one for one in verdicts if one.verdict == REFUSED]
    odd = [one for one in verdicts if one.verdict != REFUSED and one.reason]
    heading = f"{len(verdicts) - len(refused):,} of {pluralize(len(verdicts), 'recording')} can be used"
    lines = [heading + (f", {len(refused):,} cannot:" if refused else "")]
    lines += [f"  {one.track}: {one.reason}" for one in refused[:MOST_SHOWN]]
    if len(refused) > MOST_SHOWN:
        lines.append(f"  and {len(refused) - MOST_SHOWN:,} more")
    if odd:
        lines.append(f"worth a look: {enumerated([f'{one.track} {one.reason}' for one in odd], 3)}")
    return lines


def _tempo_lines(genres: Sequence[TempoRow]) -> list[str]:
    low, high = TEMPO_RANGE
    columns = ("tempo, BPM", "tracks", "mean", "std", "median", "min", "max", f"{low:g}-{high:g}", "usable")
    lines = [f"{columns[0]:<16}" + "".join(f"{name:>9}" for name in columns[1:])]
    for row in genres:
        numbers = f"{row.mean:>9.1f}{row.std:>9.1f}{row.median:>9.1f}{row.low:>9.1f}{row.high:>9.1f}"
        lines.append(f"{row.genre:<16}{row.tracks:>9,}{numbers}{row.in_range:>9,}{row.usable:>9,}")
    return lines


def _beat_lines(rows: Sequence[BeatRow], limits: tuple[float, float]) -> list[str]:
    beats, empty = sum(row.beats for row in rows), sum(not row.beats for row in rows)
    known = [row for row in rows if row.metre is not None]
    downbeats = sum(row.downbeats is not None for row in rows)
    lines = [
        f"beats: {beats:,} in {pluralize(len(rows), 'track')}, {downbeats:,} of these with downbeats"
        + (f", {empty:,} without a beat" if empty else "")
    ]
    if known:
        listed = ", ".join(f"{metre}: {count:,}" for metre, count in metres(rows).items())
        irregular = Counter(map(is_irregular, known))[True]
        lines.append(f"beats in most bars (tracks): {listed}")
        lines.append(f"irregular, with more than 5 % other bars: {irregular:,} ({irregular / len(known):.1%})")
    outside = beyond(rows, *limits)
    example = f", for instance {outside[0].track} ({outside[0].tempo:.1f} BPM)" if outside else ""
    share = len(outside) / len(rows)
    lines.append(
        f"tempo out of the decoder's {limits[0]:g} to {limits[1]:g} BPM: {len(outside):,} ({share:.1%}){example}"
    )
    return lines


def _write(
    run: RunHandle,
    name: str,
    verdicts: Sequence[Verdict],
    tempi: Sequence[AnnotatedTempo],
    genres: Sequence[TempoRow],
    rows: Sequence[BeatRow],
    limits: tuple[float, float],
) -> list[str]:
    """Attach the tables and pictures; their names."""
    files = [_table(run, integrity.FILE, Verdict, verdicts)]
    if tempi:
        files.append(_table(run, "tempo_by_genre.csv", TempoRow, genres))
        files.append(tempo_histogram(tempi, TEMPO_RANGE, run.directory / "tempo.png", f"{name}: tempo"))
    if rows:
        files.append(_table(run, "beats_by_track.csv", BeatRow, rows))
    if any(row.tempo is not None for row in rows):
        files.append(beats_picture(rows, limits, run.directory / "beats.png", name))
    for file in files:
        run.add_artifact(file)
    return [file.name for file in files]


def _table(run: RunHandle, name: str, kind: type, rows: Sequence[Verdict | TempoRow | BeatRow]) -> Path:
    path: Path = run.directory / name
    write_records(path, [field.name for field in fields(kind)], map(asdict, rows))
    return path
