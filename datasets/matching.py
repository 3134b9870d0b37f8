"""Which stored track a labelled one is: ids that differ in suffix, folder, case or the composition of accents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from datasets.identity import composed, without_suffix
from datasets.tables import CorpusError


@dataclass(frozen=True)
class Match:
    """Which stored track each labelled track is.

    Attributes:
        stored: Labelled id -> stored id.
        without_audio: Labelled ids that nothing stored corresponds to.
        without_labels: Stored ids that no label corresponds to.
        other_case: Labelled ids that pair only without regard to upper and lower case.
    """

    stored: Mapping[str, str]
    without_audio: tuple[str, ...]
    without_labels: tuple[str, ...]
    other_case: tuple[str, ...] = ()


def match_tracks(labelled: Sequence[str], stored: Sequence[str]) -> Match:
    """Pair labelled with stored ids.

    Ids pair when they are equal, else when they are the same track (see :mod:`datasets.identity`), else when they are
    but for upper and lower case, which the result tells. Where no id of the table pairs in this way, it was written
    relative to another folder (or with whole paths), and ids pair by the end of their paths: by as many folders as give
    any pair, in the end by the file's name alone, and by that without a prefix that all labelled ids share
    (`ballroom_Waltz-01`). What is not unique on both sides stays alone.

    Raises:
        CorpusError: No id pairs; the message shows one of each.
    """
    found: dict[str, str] = {}
    other_case: list[str] = []
    for key in (str, composed, without_suffix):
        _pair(key, labelled, stored, found)
    other_case += _pair(_caseless(without_suffix), labelled, stored, found)
    deepest = max((identity.count("/") for identity in stored), default=0)
    for folders in range(deepest, -1, -1):
        if not found:
            _pair(partial(_end, folders), labelled, stored, found)
            other_case += _pair(_caseless(partial(_end, folders)), labelled, stored, found)
    if not found and (prefix := _shared_prefix(labelled)):
        _pair(_caseless(lambda one: _end(0, one).removeprefix(prefix)), labelled, stored, found)
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
        tuple(other_case),
    )


def _pair(
    key: Callable[[str], str], labelled: Sequence[str], stored: Sequence[str], found: dict[str, str]
) -> list[str]:
    """Add to `found` the ids that are still alone and have the same key, each the only one of its side; which."""
    if len(found) == len(labelled):
        return []
    taken = set(found.values())
    candidates = _unique(key, (identity for identity in stored if identity not in taken))
    alone = _unique(key, (identity for identity in labelled if identity not in found))
    new = {identity: candidates[k] for k, identity in alone.items() if k in candidates}
    found.update(new)
    return list(new)


def _caseless(key: Callable[[str], str]) -> Callable[[str], str]:
    return lambda identity: composed(key(identity).casefold())


def _shared_prefix(labelled: Sequence[str]) -> str:
    """What stands up to the first underscore of the names of all ids; empty where it is not the same in all."""
    prefixes = {before + line for before, line, _ in (_end(0, identity).partition("_") for identity in labelled)}
    return prefixes.pop() if len(prefixes) == 1 and "_" in next(iter(prefixes)) else ""


def _end(folders: int, identity: str) -> str:
    """The file's name without suffix, behind its innermost folders."""
    return "/".join(without_suffix(identity).split("/")[-1 - folders :])


def _unique(key: Callable[[str], str], identities: Iterable[str]) -> dict[str, str]:
    unique: dict[str, str] = {}
    repeated: set[str] = set()
    for identity in identities:
        k = key(identity)
        if k in unique:
            repeated.add(k)
        unique[k] = identity
    return {k: identity for k, identity in unique.items() if k not in repeated}
