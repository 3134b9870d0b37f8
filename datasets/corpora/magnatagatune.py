"""MagnaTagATune: 29-second clips with the fifty tags used most (Law et al., ISMIR 2009).

Train are the folders 0 to b, valid is c, test d to f. Three clips whose files are damaged belong to no split. The
protocol `all` keeps clips that have none of the fifty tags, as Castellon et al. (ISMIR 2021) and Alonso-Jiménez et al.
(ISMIR 2023) do; `public` leaves them out, as most tagging papers since Pons et al. (ISMIR 2018) do, and three training
clips besides. Figures of one are not to be compared with figures of the other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Archive, CorpusFile, Definition, Item, ProtocolRow, shipped

TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient",
    "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals",
    "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man",
    "classic", "choir", "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice",
    "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
CATEGORIES = {
    "genre": (
        "classical", "techno", "electronic", "rock", "ambient", "indian", "opera", "pop", "classic", "new age", "dance",
        "country", "metal",
    ),
    "instrument": (
        "guitar", "strings", "drums", "piano", "violin", "synth", "harpsichord", "flute", "sitar", "solo", "harp",
        "cello",
    ),
    "voice": (
        "vocal", "female", "male", "singing", "vocals", "no vocals", "woman", "male vocal", "no vocal", "man", "choir",
        "voice", "male voice", "female vocal", "no voice", "female voice", "choral",
    ),
    "mood_tempo": ("slow", "fast", "beat", "loud", "quiet", "soft", "beats", "weird"),
}  # fmt: skip
FOLDERS = {**dict.fromkeys("0123456789ab", "train"), "c": "valid", **dict.fromkeys("def", "test")}
HOST = "https://mirg.city.ac.uk/datasets/magnatagatune"


@cache
def read(metadata: Path | None = None) -> tuple[Item, ...]:
    """All clips that belong to a split."""
    return tuple(_item(**row) for row in shipped("magnatagatune.csv.xz"))


def _item(clip: str, path: str, public: str, tags: str) -> Item:
    row = ProtocolRow(FOLDERS[path[0]], {"tags": tags})
    rows = {"all": row, "public": row} if public == "1" else {"all": row}
    return Item(path, path.removesuffix(".mp3"), rows, clip.zfill(5))


def name_of(path: PurePosixPath) -> str:
    """Folder and name of the file, without suffix: clips of other folders can have the same name."""
    return f"{path.parent.name}/{path.stem}"


MTT = Definition(
    name="mtt",
    title="MagnaTagATune",
    read=read,
    counts={
        "all": {"train": 18_706, "valid": 1_825, "test": 5_329},
        "public": {"train": 15_244, "valid": 1_529, "test": 4_332},
    },
    protocols={
        "all": "12:1:3 by folder, clips without any of the 50 tags kept",
        "public": "12:1:3 by folder, only clips with one of the 50 tags",
    },
    name_of=name_of,
    place=lambda item: f"mp3/{item.id}",
    source=f"{HOST}/mp3.zip.001 to .003, one archive in three parts",
    terms="Magnatune recordings, CC BY-NC-SA 1.0",
    archives=(
        Archive(
            (
                CorpusFile(
                    "mp3.zip.001",
                    f"{HOST}/mp3.zip.001",
                    "f857fe185968773058cc71662c2ef5d8f2d4b7338e3c122cfd52f82dcb9760b9",
                ),
                CorpusFile(
                    "mp3.zip.002",
                    f"{HOST}/mp3.zip.002",
                    "fc2e1ec441755556ed1398b1808f1b08b6034372f8bc27394510c0c58cdb52ce",
                ),
                CorpusFile(
                    "mp3.zip.003",
                    f"{HOST}/mp3.zip.003",
                    "83a689824c17e82f6eb81cdbc4e4ca239a4cfc1fb41f1a5c80b861caec90450f",
                ),
            ),
            "mp3",
        ),
    ),
)
