"""HJDB: 235 excerpts of hardcore, jungle and drum and bass (Hockman, Davies and Fujinaga 2012)."""

from __future__ import annotations

from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus, stem


def name_of(path: PurePosixPath) -> str:
    """`A_Musical_Box`, also of `hjdb_A_Musical_Box`."""
    return stem(path, "hjdb_")


HJDB = corpus(
    BeatAnnotations("hjdb", name_of),
    name="hjdb",
    title="HJDB",
    single={"train": 200, "valid": 35},
    place=lambda item: f"audio/{item.id}.wav",
    source="the recordings themselves; their audio is not distributed",
    terms="commercial recordings; for research",
)
