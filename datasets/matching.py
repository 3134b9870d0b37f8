"""Which stored track a labelled one is: ids that differ in suffix, folder or the composition of accents."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from datasets.tables import CorpusError


@dataclass(frozen=True)
class Match:
    """Which stored track each labelled track is.

    Attributes:
        stored: Labelled id -> stored id.
        without_audio: Labelled ids that nothing stored corresponds to.
        without_labels: Stored ids that no label corresponds to.
    """

    stored: Mapping[str, str]
    without_audio: tuple[str, ...]
    without_labels: tuple[str, ...]


def match_tracks(labelled: Sequence[str], stored: Sequence[str]) -> Match:
    """Pair labelled with stored ids.

    Ids pair when they are equal, else without the file's suffix. Where no id of the table pairs in this way, it was
    written relative to another folder (or with whole paths), and ids pair by the end of their paths: by as many folders
    as give any pair, in the end by the file's name alone. What is not unique on both sides stays alone. Letters with
    accents are equal however they are composed.

    Raises:
        CorpusError: No id pairs; the message shows one of each.
    """
    found: dict[str, str] = {}
    for key in (_composed, _without_suffix):
        _pair(key, labelled, stored, found)
    deepest = max((identity.count("/") for identity in stored), default=0)
    for folders in range(deepest, -1, -1):
        if not found:
            _pair(partial(_end, folders), labelled, stored, found)
    if not found and labelled:
        shown = f"{labelled[0]!r} is labelled, {stored[0]!r} is stored" if stored else "nothing is stored"
        raise CorpusError(
            f"none of the {len(labelled)} labelled tracks is among the {len(stored)} stored ones: {shown}"
        )
    taken = set(found.values())
    return Match(
        {identity: found[identity] for identity in labelled if identity in found},
        tuple(identity for identity in labelled if identity not in found),
        tuple(identity for identity in stored if identity not in taken),
    )


def _pair(key: Callable[[str], str], labelled: Sequence[str], stored: Sequence[str], found: dict[str, str]) -> None:
    """Add to `found` the ids that are still alone and have the same key, each the only one of its side."""
    taken = set(found.values())
    candidates = _unique(key, (identity for identity in stored if identity not in taken))
    alone = _unique(key, (identity for identity in labelled if identity not in found))
    found.update({identity: candidates[k] for k, identity in alone.items() if k in candidates})


def _composed(identity: str) -> str:
    return unicodedata.normalize("NFC", identity)


def _without_suffix(identity: str) -> str:
    path = PurePosixPath(_composed(identity))
    return path.with_suffix("").as_posix() if path.suffix and not path.suffix[1:].isdigit() else path.as_posix()


def _end(folders: int, identity: str) -> str:
    """The file's name without suffix, behind its innermost folders."""
    path = PurePosixPath(_composed(identity))
    return "/".join((*path.parts[-1 - folders : -1], path.stem))


def _unique(key: Callable[[str], str], identities: Iterable[str]) -> dict[str, str]:
    unique: dict[str, str] = {}
    repeated: set[str] = set()
    for identity in identities:
        k = key(identity)
        if k in unique:
            repeated.add(k)
        unique[k] = identity
    return {k: identity for k, identity in unique.items() if k not in repeated}
