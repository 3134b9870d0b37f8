"""EmoMusic: 45-second clips with mean arousal and valence of their listeners (Soleymani et al., CrowdMM 2013).

Test is what the corpus calls its evaluation set, the rest is split by artist, as Castellon et al. (ISMIR 2021) do. The
values are standardised with mean and population deviation of the 619 songs that are not test.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Archive, CorpusFile, Definition, Item, ProtocolRow, numbered, shipped

HOST = "http://cvml.unige.ch/databases/emoMusic"
SCALE = {"arousal": (4.7561, 1.3860), "valence": (4.9739, 1.2546)}  # mean and deviation, on the scale of 1 to 9


@cache
def read(metadata: Path | None = None) -> tuple[Item, ...]:
    """All songs."""
    return tuple(_item(**row) for row in shipped("emomusic.csv"))


def _item(id: str, split: str, arousal: str, valence: str) -> Item:
    row = ProtocolRow(split, {"arousal": arousal, "valence": valence})
    return Item(id.zfill(4), id, {"songs": row}, id.zfill(4))


def name_of(path: PurePosixPath) -> str:
    """The number that the file is called by."""
    return numbered(path.stem) if path.stem.isdecimal() else ""


EMOMUSIC = Definition(
    name="emomusic",
    title="EmoMusic",
    read=read,
    counts={"songs": {"train": 504, "valid": 115, "test": 125}},
    protocols={"songs": "evaluation set as test, the rest by artist"},
    name_of=name_of,
    place=lambda item: f"clips_45seconds/{item.name}.mp3",
    source=f"{HOST}/clips_45sec.tar.gz",
    terms="Free Music Archive recordings, each under its Creative Commons licence",
    archives=(
        Archive(
            (
                CorpusFile(
                    "clips_45sec.tar.gz",
                    f"{HOST}/clips_45sec.tar.gz",
                    "3994a5d5fefc27f9540d1a69cd7f1294c68e6cb311ce49765021e2e9c7a1057b",
                ),
            )
        ),
    ),
)
