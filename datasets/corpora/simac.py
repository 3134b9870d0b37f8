"""SIMAC: 595 excerpts of many kinds of music (Gouyon 2005); no downbeats."""

from __future__ import annotations

from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus, stem


def name_of(path: PurePosixPath) -> str:
    """`01_H_mikri_Rallou`, also of `simac_01_H_mikri_Rallou`."""
    return stem(path, "simac_")


SIMAC = corpus(
    BeatAnnotations("simac", name_of),
    name="simac",
    title="SIMAC",
    single={"train": 595},
    place=lambda item: f"audio/{item.id}.wav",
    source="a copy of it; its audio is not distributed",
    terms="excerpts of commercial recordings; for research",
)
