"""MTG-Jamendo: whole tracks with tags of genre, instrument and mood or theme (Bogdanov et al., ICML 2019).

Four protocols, each the first of its five splits. The annotations may be used, but not be shipped with this project
(CC BY-NC-SA 4.0): they are read from a copy of their repository.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Definition, Item, ProtocolRow
from datasets.tables import CorpusError

REPOSITORY = "https://github.com/MTG/mtg-jamendo-dataset"
SUBSETS = {"top50": "top50tags", "genre": "genre", "instrument": "instrument", "moodtheme": "moodtheme"}
CATEGORIES = {"genre": "genre", "instrument": "instrument", "mood/theme": "mood_theme"}  # beginning of a tag -> name
CATEGORY_MARK = "---"  # behind that beginning
PARTS = {"train": "train", "validation": "valid", "test": "test"}
COLUMNS = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]


def table(subset: str, part: str) -> str:
    """Where the tracks of one part of a subset stand below a copy of the repository."""
    return f"data/splits/split-0/autotagging_{subset}-{part}.tsv"


@cache
def read(metadata: Path | None = None) -> tuple[Item, ...]:
    """All tracks that a protocol has.

    Raises:
        CorpusError: No copy of the repository is given, or a table of it is not what it should be.
    """
    if metadata is None:
        raise CorpusError(f"MTG-Jamendo: its annotations are read from a copy of {REPOSITORY}; none is given")
    rows: defaultdict[str, dict[str, ProtocolRow]] = defaultdict(dict)
    for protocol, subset in SUBSETS.items():
        for part, split in PARTS.items():
            for path, artist, tags in _lines(metadata / table(subset, part)):
                rows[path][protocol] = ProtocolRow(split, {"tags": ";".join(tags), "artist": artist})
    return tuple(Item(path, path.removesuffix(".mp3"), rows[path]) for path in sorted(rows))


def _lines(file: Path) -> list[tuple[str, str, list[str]]]:
    """Path, artist and tags of every row; every tag has a column of its own behind the last header."""
    try:
        header, *rows = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines())
        if header != COLUMNS:
            raise ValueError(f"its columns are {header}, not {COLUMNS}")
        return [(row[3], row[1], row[5:]) for row in rows]
    except FileNotFoundError:
        raise CorpusError(f"{file}: no such file in this copy of {REPOSITORY}") from None
    except (ValueError, IndexError) as error:
        raise CorpusError(f"{file}: not a table of {REPOSITORY} ({error})") from None


def name_of(path: PurePosixPath) -> str:
    """Folder and number, also of the files of low bit rate (`48/948.low.mp3`)."""
    return f"{path.parent.name}/{path.stem.removesuffix('.low')}"


JAMENDO = Definition(
    name="jamendo",
    title="MTG-Jamendo",
    read=read,
    counts={
        "top50": {"train": 32_136, "valid": 10_888, "test": 11_356},
        "genre": {"train": 32_572, "valid": 11_043, "test": 11_479},
        "instrument": {"train": 14_395, "valid": 5_466, "test": 5_115},
        "moodtheme": {"train": 9_949, "valid": 3_802, "test": 4_231},
    },
    protocols={
        "top50": "the 50 commonest tags, split 0",
        "genre": "87 genres, split 0",
        "instrument": "40 instruments, split 0",
        "moodtheme": "56 moods and themes, split 0",
    },
    name_of=name_of,
    place=lambda item: item.id,
    source="scripts/download/download.py --dataset raw_30s --type audio-low --unpack, in that repository",
    terms="Jamendo recordings, each under its Creative Commons licence; annotations CC BY-NC-SA 4.0",
    metadata=table("top50tags", "train"),
    metadata_source=f"git clone {REPOSITORY}",
)
