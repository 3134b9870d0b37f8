"""SMC: 217 excerpts of 40 s, most of them hard for beat trackers (Holzapfel et al. 2012); no downbeats."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus

NAME = re.compile(r"smc_([0-9]{3})(?:_.*)?", re.IGNORECASE)


def name_of(path: PurePosixPath) -> str:
    """`001`, of `SMC_001.wav`, `SMC_001_2_1_1_a.txt` or `smc_001.beats`."""
    found = NAME.fullmatch(path.stem)
    return found[1] if found else ""


SMC = corpus(
    BeatAnnotations("smc", name_of, suffixes=(".beats", ".txt")),
    name="smc",
    title="SMC",
    single={"train": 217},
    place=lambda item: f"SMC_MIREX/SMC_MIREX_Audio/SMC_{item.id}.wav",
    source="SMC_MIREX.zip at smc.inesctec.pt/research/data-2",
    terms="for research",
)
