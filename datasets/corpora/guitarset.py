"""GuitarSet: 180 accompaniments on the acoustic guitar (Xi et al. 2018)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus

NAME = re.compile(r"([0-9]{2}_.+_comp)(?:_mix)?")


def name_of(path: PurePosixPath) -> str:
    """`00_BN1-129-Eb_comp`, of `00_BN1-129-Eb_comp_mix.wav` and `00_BN1-129-Eb_comp.jams`."""
    found = NAME.fullmatch(path.stem)
    return found[1] if found else ""


GUITARSET = corpus(
    BeatAnnotations("guitarset", name_of, suffixes=(".beats", ".jams")),
    name="guitarset",
    title="GuitarSet",
    single={"train": 153, "valid": 27},
    place=lambda item: f"audio_mono-pickup_mix/{item.id}.wav",
    source="audio_mono-pickup_mix.zip, zenodo.org/record/3371780",
    terms="CC BY 4.0",
)
