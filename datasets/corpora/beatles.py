"""Beatles: the 180 songs of twelve albums, beats by Davies, Degara and Plumbley (2009), published by Isophonics.

Songs are known by the numbers of album, disc and track, whatever their titles are spelled like. One, Revolution 9, is
annotated as having no beats.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus, stem

IN_FOLDERS = re.compile(r"[0-9]{2}_-_")  # `03_-_Anna_(Go_To_Him)` below `01_-_Please_Please_Me`
NUMBERS = re.compile(r"([0-9]{2})(?:_?CD([0-9]))?_.*?_([0-9]{2})_")


def name_of(path: PurePosixPath) -> str:
    """`10-1-16` of album 10, disc 1, track 16; `01-0-03` where the album has one disc."""
    name = stem(path, "beatles_")
    if IN_FOLDERS.match(name):
        name = f"{path.parent.name}_{name}".replace("_-_", "_")
    found = NUMBERS.match(name)
    return f"{found[1]}-{found[2] or 0}-{found[3]}" if found else ""


BEATLES = corpus(
    BeatAnnotations("beatles", name_of, suffixes=(".beats", ".txt")),
    name="beatles",
    title="Beatles",
    single={"train": 153, "valid": 27},
    place=lambda item: f"audio/{item.id}.wav",
    source="the albums themselves; their audio is not distributed",
    terms="commercial recordings; annotations by Isophonics",
)
