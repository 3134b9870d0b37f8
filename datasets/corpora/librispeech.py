"""LibriSpeech, `train-clean-100` and `test-clean`: English read by known speakers (Panayotov et al., ICASSP 2015).

Upstream has no validation split for these: a tenth of the utterances of `train-clean-100` is ours, by a hash of their
ids. The speakers of `test-clean` are others than those of the training.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Definition, Item, ProtocolRow
from datasets.splits import hashed_split
from datasets.tables import CorpusError

PARTS = {"train-clean-100": (0.9, 0.1, 0.0), "test-clean": (0.0, 0.0, 1.0)}  # shares of train, valid and test
HOST = "https://www.openslr.org/12"


@cache
def read(metadata: Path | None = None) -> tuple[Item, ...]:
    """The utterances that the transcripts of a copy name.

    Raises:
        CorpusError: No copy is given, or it has no transcripts.
    """
    if metadata is None:
        raise CorpusError(f"LibriSpeech: its utterances are read from a copy ({HOST}); none is given")
    items = []
    for part, shares in PARTS.items():
        for file in sorted((metadata / part).glob("*/*/*.trans.txt")):
            identities = [line.split(" ", 1)[0] for line in file.read_text(encoding="utf-8").splitlines() if line]
            items += [_item(identity, hashed_split(identity, shares)) for identity in identities]
    if not items:
        raise CorpusError(f"{metadata}: no transcripts SPEAKER/CHAPTER/*.trans.txt below {' or '.join(PARTS)}")
    return tuple(items)


def _item(identity: str, split: str) -> Item:
    return Item(identity, identity, {"clean": ProtocolRow(split, {"genre": identity.partition("-")[0]})})


def is_copy(folder: Path) -> bool:
    """Whether a folder holds parts of the corpus, as its archives are unpacked."""
    return any((folder / part).is_dir() for part in PARTS)


def _place(item: Item) -> str:
    speaker, chapter, _ = item.id.split("-")
    split = next(iter(item.rows.values())).split
    part = next(name for name, shares in PARTS.items() if (shares[2] == 1.0) == (split == "test"))
    return f"{part}/{speaker}/{chapter}/{item.id}.flac"


LIBRISPEECH = Definition(
    name="librispeech",
    title="LibriSpeech",
    read=read,
    counts={"clean": {}},
    protocols={"clean": "train-clean-100, a tenth of it for validation, and test-clean; the label is the speaker"},
    name_of=lambda path: PurePosixPath(path).stem,
    place=_place,
    source=f"train-clean-100.tar.gz and test-clean.tar.gz of {HOST}",
    terms="CC BY 4.0",
    metadata="train-clean-100",
    metadata_source=f"tar -xzf train-clean-100.tar.gz, an archive of {HOST}, which makes ./LibriSpeech",
    holds=is_copy,
)
