"""GTZAN tempo: one tempo an excerpt, and beats, as `TempoBeatDownbeat/gtzan_tempo_beat` annotates them.

Of 999 annotated excerpts 989 are from 40 to 250 BPM, and 988 can be used with the copies of GTZAN in which jazz.00054
is damaged. Other tempi of GTZAN are in circulation, and one system can differ by twenty points of Accuracy1 between
them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from datasets.corpora import gtzan, gtzan_beats
from datasets.corpora.base import Definition, Item, ProtocolRow, shipped
from datasets.corpora.rhythm import TEST, BeatAnnotations, find_annotations
from datasets.system_folders import files_below
from datasets.tables import CorpusError

REPOSITORY = "https://github.com/TempoBeatDownbeat/gtzan_tempo_beat"
SUFFIX = ".bpm"
SLOWEST, FASTEST = 40.0, 250.0  # BPM
CHUNK_SECONDS = 262_144 / 22_050  # of the reference, which cuts no shorter one
TRAIN_PERCENT = 80
GENRE, FILTERED, ALL = "genre", "filtered", "all"


def read(folder: Path | None) -> tuple[Item, ...]:
    """All excerpts; those without one tempo in range are refused.

    Raises:
        CorpusError: There is no folder, or nothing of this kind in it.
    """
    if folder is None:
        raise CorpusError(f"GTZAN tempo: its annotations are read from a copy of {REPOSITORY}; none is given")
    tempi = _files(folder)
    beats = find_annotations(BeatAnnotations("gtzan", gtzan_beats.name_of), folder)
    items = []
    for row in shipped("gtzan.csv"):
        tempo, why = _tempo(tempi.get(row["id"], ()))
        cells = {"genre": row["genre"], "tempo": tempo} if tempo else {"genre": row["genre"]}
        rows = {ALL: ProtocolRow(TEST, cells), GENRE: ProtocolRow("train", cells)}
        rows |= {FILTERED: ProtocolRow(row["split"], cells)} if row["split"] else {}
        items.append(Item(row["id"], row["id"], {} if why else rows, "", beats.beats(row["id"])[0], why, cells))
    split = by_genre([item for item in items if not item.refused])
    return tuple(_split(item, split) for item in items)


def by_genre(items: Sequence[Item]) -> dict[str, str]:
    """Four fifths of every genre, rounded down, to train, the rest to valid, in an order that a hash of ids gives."""
    genres: defaultdict[str, list[str]] = defaultdict(list)
    for item in items:
        genres[item.rows[GENRE].cells["genre"]].append(item.id)
    assigned = {}
    for ids in genres.values():
        shuffled = sorted(ids, key=lambda one: hashlib.sha256(one.encode()).digest())
        first = len(ids) * TRAIN_PERCENT // 100
        assigned |= {one: "train" if place < first else "valid" for place, one in enumerate(shuffled)}
    return assigned


def _split(item: Item, split: Mapping[str, str]) -> Item:
    if item.id not in split:
        return item
    row = ProtocolRow(split[item.id], item.rows[GENRE].cells)
    return replace(item, rows={**item.rows, GENRE: row})


def _files(folder: Path) -> dict[str, list[Path]]:
    """Files with a tempo, by the name of the excerpt."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(_tempo_files(folder)):
        found[gtzan_beats.name_of(path)].append(path)
    return found


def _tempo_files(folder: Path) -> Iterator[Path]:
    return (path for entry in files_below(folder) if (path := Path(entry.path)).suffix.casefold() == SUFFIX)


def _tempo(files: Sequence[Path]) -> tuple[str, str]:
    """The cell of a tempo, and why there is none that can be used."""
    if not files:
        return "", "no tempo is annotated"
    try:
        values = files[0].read_text(encoding="utf-8").split()
        (bpm,) = map(float, values)
    except (OSError, ValueError):
        return "", f"{files[0].name} does not hold one tempo"
    if not bpm > 0 or bpm == float("inf"):
        return "", f"{bpm:g} BPM is no tempo"
    if not SLOWEST <= bpm <= FASTEST:
        return f"{bpm:.4f}", f"{bpm:.2f} BPM, outside of {SLOWEST:g} to {FASTEST:g}"
    return f"{bpm:.4f}", ""


def _holds(folder: Path) -> bool:
    return folder.is_dir() and next(_tempo_files(folder), None) is not None


GTZAN_TEMPO = Definition(
    name="gtzan_tempo",
    title="GTZAN tempo",
    read=cache(read),
    counts={
        GENRE: {"train": 789, "valid": 200},
        FILTERED: {"train": 439, "valid": 196, "test": 285},
        ALL: {"test": 989},
    },
    usable={
        GENRE: {"train": 788, "valid": 200},
        FILTERED: {"train": 438, "valid": 196, "test": 285},
        ALL: {"test": 988},
    },
    resplit={GENRE: by_genre},
    protocols={
        GENRE: "four fifths of every genre to train, the rest to valid",
        FILTERED: "the fault-filtered lists, artists on one side",
        ALL: "all of it as test",
    },
    name_of=gtzan.name_of,
    place=gtzan.GTZAN.place,
    source=gtzan.GTZAN.source,
    terms=gtzan.GTZAN.terms,
    archives=gtzan.GTZAN.archives,
    known=gtzan.GTZAN.known,
    metadata="tempo/*.bpm",
    metadata_source=f"git clone {REPOSITORY}",
    holds=_holds,
    version=lambda folder: "gtzan_tempo_beat",
    sample_rate=22_050,
    least_seconds=CHUNK_SECONDS,
)
