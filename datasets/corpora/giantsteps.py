"""GiantSteps key: two-minute excerpts of electronic dance music with their key, in clips of 30 s.

Test is the GiantSteps key corpus (Knees et al., ISMIR 2015). Train and valid are the songs of the GiantSteps-MTG key
corpus (Faraldo 2017) with full confidence and one key, split by artist as Castellon et al. (ISMIR 2021) do. Songs are
what counts: clips `0010089-0`, `0010089-1`, ... share the group `0010089`, and are evaluated together. A rest of less
than 30 s is discarded.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Archive, CorpusFile, Definition, Item, ProtocolRow, numbered, shipped

CLIP_SECONDS = 30.0
FAMILY = ("giantsteps_key", "giantsteps_mtg_key")
HOST = "https://www.cp.jku.at/datasets/giantsteps"
GITHUB = "https://github.com/GiantSteps"


@cache
def read_key(metadata: Path | None = None) -> tuple[Item, ...]:
    """The test songs."""
    return _read("test")


@cache
def read_mtg_key(metadata: Path | None = None) -> tuple[Item, ...]:
    """The training and validation songs."""
    return _read("train", "valid")


def _read(*splits: str) -> tuple[Item, ...]:
    return tuple(_item(**row) for row in shipped("giantsteps_key.csv") if row["split"] in splits)


def _item(id: str, split: str, key: str) -> Item:
    padded = id.zfill(7)
    return Item(padded, id, {"songs": ProtocolRow(split, {"key": key})}, padded)


def name_of(path: PurePosixPath) -> str:
    """The number of `10089.LOFI.mp3`, or of a file with artist and title behind the number."""
    return numbered(path.name)


KEY = Definition(
    name="giantsteps_key",
    title="GiantSteps key",
    read=read_key,
    counts={"songs": {"test": 604}},
    protocols={"songs": "the whole corpus as test"},
    name_of=name_of,
    place=lambda item: f"audio/{item.name}.LOFI.mp3",
    source=f"{HOST}/backup/, a file a song",
    terms="Beatport previews; for research",
    archives=(
        Archive(
            (
                CorpusFile(
                    "giantsteps-key-dataset.zip",
                    f"{GITHUB}/giantsteps-key-dataset/archive/c8cb8aad2cb53f165be51ea099d0dc75c64a844f.zip",
                    "7749bee0f919b0f53db2c540fa6707f322b82a5d140e453f10f9af7875ad5bb8",
                    promised=False,
                ),
            )
        ),
    ),
    url=f"{HOST}/backup/{{name}}.LOFI.mp3",
    clip_seconds=CLIP_SECONDS,
    clips={"test": 2_406},
    family=FAMILY,
)

MTG_KEY = Definition(
    name="giantsteps_mtg_key",
    title="GiantSteps-MTG key",
    read=read_mtg_key,
    counts={"songs": {"train": 923, "valid": 236}},
    protocols={"songs": "songs of one sure key, by artist"},
    name_of=name_of,
    place=lambda item: f"audio/{item.name}.LOFI.mp3",
    source=f"{HOST}/mtg_key_backup/, a file a song",
    terms="Beatport previews; for research",
    archives=(
        Archive(
            (
                CorpusFile(
                    "giantsteps-mtg-key-dataset.zip",
                    f"{GITHUB}/giantsteps-mtg-key-dataset/archive/fd7b8c584f7bd6d720d170c325a6d42c9bf75a6b.zip",
                    "c754c3fabbc0bf275d399028e212fa2c9c6680084bd003e3a283ae7b3ea22996",
                    promised=False,
                ),
            )
        ),
    ),
    url=f"{HOST}/mtg_key_backup/{{name}}.LOFI.mp3",
    clip_seconds=CLIP_SECONDS,
    clips={"train": 3_687, "valid": 942},
    family=FAMILY,
)
