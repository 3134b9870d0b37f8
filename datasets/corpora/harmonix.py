"""Harmonix: Western popular music with beats, downbeats and sections (Nieto et al. 2019).

Recordings are known by their numbers. Of 912 annotated ones the lists of splits have 911.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus

NUMBER = re.compile(r"([0-9]{4})_.+")


def name_of(path: PurePosixPath) -> str:
    """`0001`, of `0001_12step.txt`."""
    found = NUMBER.fullmatch(path.stem)
    return found[1] if found else ""


HARMONIX = corpus(
    BeatAnnotations("harmonix", name_of, suffixes=(".beats", ".txt"), left_out={"0120": "in no list of splits"}),
    name="harmonix",
    title="Harmonix",
    single={"train": 774, "valid": 137},
    place=lambda item: f"audio/{item.id}.mp3",
    source="the recordings themselves, aligned as urinieto/harmonixset describes",
    terms="commercial recordings; annotations MIT",
)
