"""RWC: 226 pieces of four of its databases (Goto et al. 2002), beats by AIST (Goto 2006).

AIST counts the pieces of a database through, everybody else counts by disc and track. Of the classical pieces some
have several tracks: there the files of AIST, in order, are the tracks of the discs, in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path, PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus, shipped_lists, stem

DATABASES = {"c": "classical", "j": "jazz", "p": "popular", "r": "royalty-free"}
DISCS = {"j": (15, 10, 10, 15), "p": (16, 16, 16, 16, 16, 10, 10), "r": (15,)}  # tracks of each
AIST = re.compile(r"RM-([CJPR])([0-9]{3})(_?[A-Z]?)", re.IGNORECASE)
DISC = re.compile(r"rwc-([cjpr])-m([0-9]{2})", re.IGNORECASE)
OF_CLASSICAL = "RM-C"


def name_of(path: PurePosixPath) -> str:
    """`popular_CD1_01`, of `RM-P001.BEAT.TXT`, `rwc-p-m01/1.wav` or `rwc_popular_CD1_01.beats`; of classical pieces
    that AIST numbers, `RM-C025_A`."""
    name = stem(path, "rwc_").split(".")[0]
    if found := AIST.fullmatch(name):
        database, number = found[1].lower(), int(found[2])
        return _on_disc(database, number) if database in DISCS else name.upper()
    if (found := DISC.fullmatch(path.parent.name)) and name.isdecimal():
        return f"{DATABASES[found[1].lower()]}_CD{int(found[2])}_{int(name):02d}"
    return name


def _on_disc(database: str, number: int) -> str:
    ends = list(accumulate(DISCS[database]))
    disc = next((disc for disc, end in enumerate(ends) if number <= end), None)
    if disc is None or number < 1:
        return ""
    return f"{DATABASES[database]}_CD{disc + 1}_{number - ends[disc] + DISCS[database][disc]:02d}"


def named(files: Mapping[str, Path]) -> dict[str, Path]:
    """Files by disc and track; the classical ones only where all are there."""
    numbered = sorted(name for name in files if name.startswith(OF_CLASSICAL))
    tracks = sorted(track.removeprefix("rwc_") for track in shipped_lists("rwc") if "classical" in track)
    to = dict(zip(numbered, tracks, strict=True)) if len(numbered) == len(tracks) else {}
    return {to.get(name, name): file for name, file in files.items()}


RWC = corpus(
    BeatAnnotations("rwc", name_of, suffixes=(".beats", ".beat.txt"), named=named),
    name="rwc",
    title="RWC",
    single={"train": 192, "valid": 34},
    place=lambda item: f"audio/rwc_{item.id}.wav",
    source="the discs, or the copy on Zenodo, of AIST's RWC Music Database",
    terms="for research, under AIST's terms",
)
