"""Annotations of beats in the layouts of published corpora: of composed music, and made up for what has no audio."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from datasets.beat_files import beats_text, read_beats
from datasets.beats import Beats
from datasets.corpora import Definition
from datasets.corpora.base import shipped
from datasets.corpora.rhythm import BEATS_FOLDER, EIGHT, INFO, PARTS, RELEASE, SINGLE, shipped_lists
from datasets.demo.output import write_text

GTZAN = "gtzan"
GTZAN_TEMPO_FOLDER = "gtzan_tempo_beat"
NOT_ANNOTATED = "reggae.00086"
JAZZ_WITHOUT_DOWNBEATS = ("00003", "00009", "00010", "00014", "00018", "00020")
OUT_OF_RANGE = {  # BPM, as published
    "blues.00045": 263.53,
    "classical.00021": 269.96,
    "country.00034": 273.39,
    "country.00091": 38.44,
    "country.00097": 37.72,
    "jazz.00031": 321.64,
    "metal.00026": 251.32,
    "metal.00027": 258.03,
    "pop.00043": 265.93,
    "reggae.00012": 262.61,
}
NO_DOWNBEATS = ("smc", "simac")
EMPTY = "beatles_10_CD2_The_Beatles_12_Revolution_9"
NO_BEATS = Beats(np.empty(0))
USUAL = Beats(0.25 + 0.5 * np.arange(12), np.arange(12) % 4 + 1)


def make_up(definition: Definition, folder: Path, true: Mapping[str, Beats]) -> Path:
    """Annotations of all recordings of a corpus of beats, as they are published.

    Args:
        definition: The corpus.
        folder: Made if absent.
        true: Beats of recordings that have audio, by id; all others get the same ones.

    Returns:
        The folder with the annotations.
    """
    if definition.name == "gtzan_tempo":
        return _gtzan_tempo(folder / GTZAN_TEMPO_FOLDER, true)
    corpus = GTZAN if definition.name == "gtzan_beats" else definition.name
    place, lists = folder / RELEASE / corpus, shipped_lists(corpus)
    if corpus == GTZAN:
        for row in shipped("gtzan.csv"):
            if row["id"] != NOT_ANNOTATED:
                genre, number = row["id"].split(".")
                beats = true.get(row["id"], USUAL)
                known = genre != "jazz" or number not in JAZZ_WITHOUT_DOWNBEATS
                _beats(place / BEATS_FOLDER / f"gtzan_{genre}_{number}.beats", beats, known)
    for track in lists:
        beats = NO_BEATS if track == EMPTY else true.get(track.removeprefix(f"{corpus}_"), USUAL)
        _beats(place / BEATS_FOLDER / f"{track}.beats", beats, corpus not in NO_DOWNBEATS)
    if lists:
        names = {split: name for name, split in PARTS.items()}
        _list(place / SINGLE, ((track, names[split]) for track, (split, _) in lists.items()))
        _list(place / EIGHT, ((track, fold) for track, (_, fold) in lists.items()))
    write_text(place / INFO, json.dumps({"has_downbeats": corpus not in NO_DOWNBEATS}))
    return folder / RELEASE


def _gtzan_tempo(folder: Path, true: Mapping[str, Beats]) -> Path:
    for row in shipped("gtzan.csv"):
        if row["id"] != NOT_ANNOTATED:
            beats, name = true.get(row["id"], USUAL), f"gtzan_{row['id'].replace('.', '_')}"
            _text(folder / "tempo" / f"{name}.bpm", f"{OUT_OF_RANGE.get(row['id'], beats.tempo):.18e}\n")
            _beats(folder / "beats" / f"{name}.beats", beats)
    return folder


def _beats(file: Path, beats: Beats, downbeats: bool = True) -> None:
    _text(file, beats_text(beats if downbeats else Beats(beats.times)))


def _list(file: Path, rows: Iterable[tuple[str, str]]) -> None:
    _text(file, "".join(f"{track}\t{value}\n" for track, value in rows))


def _text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def whole_bars(piece: Path) -> bool:
    """Whether a piece of the demo corpus has a bar that can be repeated."""
    return len(read_beats(piece.with_suffix(".beats")).beats.downbeats) > 1


def repeated(piece: Path, seconds: float) -> tuple[np.ndarray, int, Beats]:
    """The whole bars of a piece of the demo corpus, again and again, each time a little louder.

    Returns:
        Samples float32 of so many seconds, their rate in Hz, and the beats.
    """
    samples, rate = soundfile.read(piece, dtype="float32")
    beats = read_beats(piece.with_suffix(".beats")).beats
    first, last = beats.downbeats[0], beats.downbeats[-1]
    start, length = round(first * rate), round((last - first) * rate)
    times = -(-round(seconds * rate) // length)
    gains = np.repeat(np.linspace(0.5, 1.0, times, dtype=np.float32), length)
    inside = beats.between(first, last)
    shifts = np.arange(times)[:, None] * length / rate
    placed = Beats((shifts + inside.times - first).ravel(), np.tile(inside.positions, times))
    looped = np.tile(samples[start : start + length], times) * gains
    return looped[: round(seconds * rate)], rate, placed.between(0.0, seconds)
