"""GTZAN: 30-second excerpts of ten genres (Tzanetakis and Cook, 2002), split without its faults.

The fault-filtered lists of Kereliuk, Sturm and Larsen ("Deep learning and music adversaries", 2015) leave out 70 of the
1,000 files (repetitions, distortions, mislabelled ones) and keep artists on one side.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Archive, CorpusFile, Definition, Item, ProtocolRow, shipped

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


@cache
def read(metadata: Path | None = None) -> tuple[Item, ...]:
    """The files that the fault-filtered lists keep."""
    return tuple(_item(**row) for row in shipped("gtzan.csv") if row["split"])


def _item(id: str, genre: str, split: str) -> Item:
    jukemir = hashlib.sha256(id.encode()).hexdigest()
    return Item(id, id, {"fault-filtered": ProtocolRow(split, {"genre": genre})}, jukemir)


def name_of(path: PurePosixPath) -> str:
    """`blues.00000`, also of a copy that calls it `blues00000` or `blues_00000`."""
    genre, number = path.stem[:-5].rstrip("._-"), path.stem[-5:]
    return f"{genre}.{number}"


GTZAN = Definition(
    name="gtzan",
    title="GTZAN",
    read=read,
    counts={"fault-filtered": {"train": 443, "valid": 197, "test": 290}},
    protocols={"fault-filtered": "the lists of Kereliuk et al., 70 files left out"},
    name_of=name_of,
    place=lambda item: f"genres/{item.id.split('.')[0]}/{item.id}.wav",
    source="genres.tar.gz, which the Internet Archive keeps (its first host is gone); wav and au are both read",
    terms="no licence is known; for research",
    archives=(
        Archive(
            (
                CorpusFile(
                    "genres.tar.gz",
                    "https://web.archive.org/web/2020id_/http://opihi.cs.uvic.ca/sound/genres.tar.gz",
                    "24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6",
                ),
            )
        ),
    ),
    known={"jazz.00054": "damaged in the copies on Kaggle and Hugging Face, whole in genres.tar.gz"},
)
