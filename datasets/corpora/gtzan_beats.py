"""GTZAN rhythm: beats and downbeats of GTZAN (Marchand and Peeters 2015), never trained on but for a test.

999 of the 1,000 excerpts are annotated, six of them, all jazz, without downbeats.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from datasets.beats import Beats
from datasets.corpora import gtzan
from datasets.corpora.base import Item, ProtocolRow, shipped
from datasets.corpora.rhythm import TEST, BeatAnnotations, cells_of, definition, find_annotations, stem


def name_of(path: PurePosixPath) -> str:
    """`jazz.00003`, of `gtzan_jazz_00003.beats`, `jazz.00003.wav.jams`, and whatever GTZAN's audio is called."""
    return gtzan.name_of(PurePosixPath(f"{stem(path, 'gtzan_').removesuffix('.wav')}.wav"))


ANNOTATIONS = BeatAnnotations("gtzan", name_of, suffixes=(".beats", ".jams"))


def read(folder: Path | None) -> tuple[Item, ...]:
    """All excerpts; the one without annotation is refused."""
    found = find_annotations(ANNOTATIONS, folder)
    return tuple(_item(row["id"], row["genre"], *found.beats(row["id"])) for row in shipped("gtzan.csv"))


def _item(id: str, genre: str, beats: Beats | None, why: str) -> Item:
    row = ProtocolRow(TEST, cells_of(beats, genre=genre))
    return Item(id, id, {} if beats is None else {TEST: row}, beats=beats, refused=why)


GTZAN_BEATS = definition(
    ANNOTATIONS,
    read,
    {row["id"] for row in shipped("gtzan.csv")},
    name="gtzan_beats",
    title="GTZAN rhythm",
    counts={TEST: {TEST: 999}},
    protocols={TEST: "all of it as test"},
    place=gtzan.GTZAN.place,
    source=gtzan.GTZAN.source,
    terms=gtzan.GTZAN.terms,
    archives=gtzan.GTZAN.archives,
    known=gtzan.GTZAN.known,
    sample_rate=22_050,
)
