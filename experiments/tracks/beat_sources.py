"""Where beats come from that no column of a table gives: files beside the audio, folders of them, long tables, mirdata.

Also what follows from beats: a tempo, for a task about it; and what the audio refutes: beats behind its end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from datasets.beat_cells import BEATS, refused_notes
from datasets.beat_corpus import beat_files, corpus_of, found_in, is_beat_table, read_beat_folder, read_beat_table
from datasets.beat_files import FoundBeats, mended_notes
from datasets.beats import Beats
from datasets.corpus import Corpus, Track
from datasets.matching import match_tracks
from datasets.measures import seconds_of
from datasets.mirdata_beats import read_mirdata
from datasets.store import Reader
from datasets.tables import CorpusError
from datasets.text import enumerated, pluralize
from experiments.settings import DatamoduleSettings
from experiments.tasks import find
from experiments.tasks.base import Task

MIRDATA = "mirdata:"
TEMPO = "tempo"
SLOWEST, FASTEST = 10.0, 1000.0  # BPM: anything beyond says nothing of the music
BESIDE = (".beats", ".beat")  # what files of beats beside audio are called
SHOWN = 3


def needed(settings: DatamoduleSettings, task: Task | None = None) -> tuple[str, ...]:
    """The annotations that a task is about: of a trained network's, else of the settings'; none for `auto`."""
    if task is not None:
        return task.annotations
    return () if settings.task == "auto" else find(settings.task).annotations


def named(groundtruth: str, base: Path) -> Corpus | None:
    """The corpus of beats that `datamodule.groundtruth` names; None where it names a table of tracks.

    Args:
        groundtruth: A folder of files of beats, a long table, or `mirdata:NAME`.
        base: Folder of the audio, where mirdata's data set is.

    Raises:
        CorpusError: It cannot be read.
    """
    if groundtruth.startswith(MIRDATA):
        return read_mirdata(groundtruth.removeprefix(MIRDATA), base)
    path = Path(groundtruth).expanduser()
    if path.is_dir():
        return read_beat_folder(path)
    return read_beat_table(path) if path.is_file() and is_beat_table(path) else None


def beside_audio(base: Path, wanted: Collection[str]) -> Corpus | None:
    """The corpus of the files of beats beside audio, where a task is about beats, or the tempo that follows from them.

    Returns:
        None where there are no such files, or the task is about something else.

    Raises:
        CorpusError: None of them can be read.
    """
    files = beat_files(base, BESIDE) if {BEATS, TEMPO} & {*wanted} else {}
    return corpus_of(base.resolve().name, {track: found_in(file) for track, file in files.items()}) if files else None


def of_audio(corpus: Corpus, base: Path, features: Reader, frame_rate: float, wanted: Collection[str]) -> Corpus:
    """The corpus with what its audio adds to the beats, and without what it refutes.

    Args:
        corpus: Not all of its tracks need be stored.
        base: Folder of the audio.
        features: Of the tracks.
        frame_rate: Frames a second, of features.
        wanted: The annotations that are needed.
    """
    return within_audio(completed(corpus, base, wanted), features, frame_rate)


def completed(corpus: Corpus, base: Path, wanted: Collection[str]) -> Corpus:
    """The corpus with the beats that files beside the audio give, where a task needs them and no track has any.

    Adds to the notes.
    """
    present = corpus.annotations
    if BEATS in present or not ({BEATS, TEMPO} & {*wanted}) - {*present}:
        return corpus
    files = beat_files(base, BESIDE)
    try:
        stored = match_tracks([track.id for track in corpus], list(files)).stored if files else {}
    except CorpusError:  # files of other tracks
        stored = {}
    if not stored:
        return corpus
    found = {track: found_in(files[file]) for track, file in stored.items()}
    tracks = [
        replace(track, annotations={**track.annotations, BEATS: one.beats})
        if isinstance(one := found.get(track.id), FoundBeats)
        else track
        for track in corpus
    ]
    read = [one for one in found.values() if isinstance(one, FoundBeats)]
    unreadable = {track: one for track, one in found.items() if isinstance(one, str)}
    notes = [
        f"beats: of {pluralize(len(read), 'file')} beside the audio",
        *mended_notes(read),
        *refused_notes(unreadable),
    ]
    return replace(corpus, tracks=tuple(tracks), notes=(*corpus.notes, *notes), unreadable=unreadable)


def within_audio(corpus: Corpus, features: Reader, frame_rate: float) -> Corpus:
    """The corpus without the beats that lie behind the end of their audio; adds a note on them."""
    with_beats = [track for track in corpus if isinstance(track.annotations.get(BEATS), Beats)]
    try:
        stored = match_tracks([track.id for track in with_beats], features.ids).stored
    except CorpusError:  # whoever pairs all tracks says so
        return corpus
    lengths = seconds_of(features, list(stored.values()), frame_rate).tolist()
    end = dict(zip(stored, lengths, strict=True))
    behind: dict[str, int] = {}
    most_behind, tracks = 0, []
    for track in corpus:
        if track.id in end:
            beats: Beats = track.annotations[BEATS]
            kept = beats.until(end[track.id])
            if len(kept) < len(beats):
                behind[track.id] = len(beats) - len(kept)
                most_behind += len(kept) < behind[track.id]
                track = replace(track, annotations={**track.annotations, BEATS: kept})
        tracks.append(track)
    if not behind:
        return corpus
    count = pluralize(sum(behind.values()), "beat lies", "beats lie")
    cases = enumerated((f"{track} ({number})" for track, number in behind.items()), SHOWN)
    note = f"{count} behind the end of the audio of {pluralize(len(behind), 'track')} and left out: {cases}"
    if most_behind:
        note += f"; of {pluralize(most_behind, 'track')} these are most: are the times milliseconds, or of other audio?"
    return replace(corpus, tracks=tuple(tracks), notes=(*corpus.notes, note))


def with_tempo(corpus: Corpus, wanted: Sequence[str]) -> Corpus:
    """The corpus with the tempi of its beats, where a task needs tempi and no track has one; adds a note."""
    if TEMPO not in wanted or TEMPO in corpus.annotations or BEATS not in corpus.annotations:
        return corpus
    tempi = {track.id: tempo for track in corpus if (tempo := _tempo(track)) is not None}
    tracks = [
        replace(track, annotations={**track.annotations, TEMPO: tempi[track.id]}) if track.id in tempi else track
        for track in corpus
    ]
    note = f"tempo: 60 over the median interval of the beats, of {pluralize(len(tempi), 'track')}"
    return replace(corpus, tracks=tuple(tracks), notes=(*corpus.notes, note))


def _tempo(track: Track) -> float | None:
    beats = track.annotations.get(BEATS)
    tempo = beats.tempo if isinstance(beats, Beats) else None
    return tempo if tempo is not None and SLOWEST <= tempo <= FASTEST else None
