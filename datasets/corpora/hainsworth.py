"""Hainsworth: 222 excerpts of about a minute in several genres (Hainsworth and Macleod 2004), beats revised by Böck."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus

NAME = re.compile(r"(?:hainsworth_|hains)?([0-9]{3})", re.IGNORECASE)


def name_of(path: PurePosixPath) -> str:
    """`001`, of `001.wav`, `hains001.wav` or `hainsworth_001.beats`."""
    found = NAME.fullmatch(path.stem)
    return found[1] if found else ""


HAINSWORTH = corpus(
    BeatAnnotations("hainsworth", name_of),
    name="hainsworth",
    title="Hainsworth",
    single={"train": 189, "valid": 33},
    place=lambda item: f"wavs/{item.id}.wav",
    source="a copy of it; its audio is no longer distributed",
    terms="excerpts of commercial recordings; for research",
)
