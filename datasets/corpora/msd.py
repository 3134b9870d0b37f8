"""Million Song Dataset: 30-second clips with the fifty Last.fm tags used most (Bertin-Mahieux et al., ISMIR 2011).

Splits and tags are read from a folder of tables as musicnn's and CLMR's training code have them: `train_gt_msd.tsv`,
`val_gt_msd.tsv` and `test_gt_msd.tsv` (the id of a track, a tab, and a list of a 0 or 1 for every tag),
`output_labels_msd.txt` with the tags, and, where files are not called by the ids, `index_msd.tsv` (the id, a tab, and
the path of the file). Published are 201,680 / 11,774 / 28,435 tracks. Neither the tables nor the audio, which is not
distributed any more, come with this project.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Definition, Item, ProtocolRow
from datasets.tables import CorpusError

TABLES = {"train": "train_gt_msd.tsv", "valid": "val_gt_msd.tsv", "test": "test_gt_msd.tsv"}
TAGS, INDEX = "output_labels_msd.txt", "index_msd.tsv"
FOLDER = "processed_annotations"


@cache
def read(metadata: Path | None = None) -> tuple[Item, ...]:
    """All tracks of the tables.

    Raises:
        CorpusError: No folder is given, or a table of it is not what it should be.
    """
    if metadata is None:
        raise CorpusError(
            f"Million Song Dataset: its tables {', '.join(TABLES.values())} do not come with this project"
        )
    tags = read_tags(metadata / TAGS)
    names = dict(_pairs(metadata / INDEX)) if (metadata / INDEX).is_file() else {}
    items: dict[str, Item] = {}
    for split, table in TABLES.items():
        for identity, cell in _pairs(metadata / table):
            if identity in items:
                raise CorpusError(f"{metadata / table}: {identity} stands there, or in another table, before")
            row = ProtocolRow(split, {"tags": ";".join(_chosen(metadata / table, identity, cell, tags)) or "-"})
            name = name_of(PurePosixPath(names.get(identity, identity)))
            items[identity] = Item(identity, name, {"top50": row})
    return tuple(items.values())


def read_tags(file: Path) -> list[str]:
    """The tags in label order: of a list in brackets, or one a line.

    Raises:
        CorpusError: There is no such file, or no tag in it.
    """
    lines = [line.strip() for line in _text(file).splitlines() if line.strip() and not line.startswith("#")]
    listed = next((line[line.index("[") :] for line in lines if "[" in line), None)
    try:
        tags = lines if listed is None else ast.literal_eval(listed)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        tags = None
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) for tag in tags):
        raise CorpusError(f"{file}: no list of tags; expected is ['rock', 'pop', ...], or one a line")
    return tags


def _chosen(table: Path, identity: str, cell: str, tags: list[str]) -> list[str]:
    try:
        values = json.loads(cell)
        if len(values) != len(tags) or not all(value in (0, 1) for value in values):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise CorpusError(f"{table}: {identity} has no list of {len(tags)} zeros and ones, one for every tag") from None
    return [tag for tag, value in zip(tags, values, strict=True) if value]


def _pairs(file: Path) -> list[tuple[str, str]]:
    """The two columns of a table without a header."""
    rows = [tuple(line.split("\t")) for line in _text(file).splitlines() if line.strip()]
    if wrong := next((row for row in rows if len(row) != 2), None):
        raise CorpusError(
            f"{file}: two columns with a tab between them are expected, {wrong[0][:40]!r} has {len(wrong)}"
        )
    return rows


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def name_of(path: PurePosixPath) -> str:
    """The id that the file is called by, of 7digital's clips without `.clip`."""
    return path.stem.removesuffix(".clip")


MSD = Definition(
    name="msd",
    title="Million Song Dataset",
    read=read,
    counts={"top50": {}},
    protocols={"top50": "the 50 commonest Last.fm tags, as the tables split them"},
    name_of=name_of,
    place=lambda item: "/".join((*item.name[2:5], f"{item.name}.mp3")),
    source="7digital's previews, which are not distributed any more",
    terms="commercial recordings; no licence to share them",
    metadata=TABLES["train"],
    metadata_source=f"the code of musicnn or CLMR, which makes the tables {', '.join(TABLES.values())} in ./{FOLDER}",
)
