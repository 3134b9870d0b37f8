"""Whether stores are of the same audio, whatever was computed of it.

A row of an index has a checksum of what is stored, or of what that was computed from, and one of the audio file. The
second is handed on from store to store (features, embeddings, logits), so that it tells replaced audio from another
front end or network. A file whose tags were edited counts as another one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datasets.store import Store

_PIECE = 2**20


def audio_checksum(path: Path) -> str | None:
    """CRC-32 of the bytes of a file, as ``crc32:0123abcd``; None where it cannot be read."""
    total = 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                total = zlib.crc32(piece, total)
    except OSError:
        return None
    return f"crc32:{total:08x}"


def tracks_of_other_audio(
    made: Store, features: Store, stored: Mapping[str, str], differ: Callable[[str, str], bool]
) -> list[str]:
    """Tracks of which one store was made of other audio than another store has now.

    Args:
        made: The store of embeddings or logits.
        features: The store of features or audio.
        stored: Ids in ``features`` -> ids in ``made``.
        differ: Whether two tracks differ by their other checksums, in ``made`` and in ``features``; asked where the
            audio of one is not known.

    Returns:
        Ids in ``features``, in the order of ``stored``; tracks that one of the stores lacks are left out.
    """
    then = _checksums(made, list(stored.values()))
    now = _checksums(features, list(stored))
    unequal = pc.not_equal(then["audio_checksum"], now["audio_checksum"]).to_pylist()
    rows = zip(stored, unequal, then["checksum"].to_pylist(), now["checksum"].to_pylist(), strict=True)
    return [
        identity
        for identity, audio_differs, before, after in rows
        if before is not None
        and after is not None
        and (differ(before, after) if audio_differs is None else audio_differs)
    ]


def replaced_audio(made: Store, features: Store, names: Mapping[str, str]) -> set[str]:
    """Tracks that bear the same name in both stores and are of other audio; where a checksum is unknown, none.

    Args:
        made: The store of embeddings or logits.
        features: The store of features or audio.
        names: Ids in ``features`` -> ids in ``made``.
    """

    def differ(then: str, now: str) -> bool:
        own = any(checksum.startswith("crc32:") for checksum in (then, now))  # of the stored arrays
        return not own and then != now

    same_name = {identity: name for identity, name in names.items() if identity == name}
    return set(tracks_of_other_audio(made, features, same_name, differ))


def _checksums(store: Store, ids: Sequence[str]) -> pa.Table:
    """Both checksums of some tracks; null for those that are not in the store."""
    table = store.table()
    places = pc.index_in(pa.array(ids, pa.string()), value_set=table["id"])
    return table.select(["checksum", "audio_checksum"]).take(places)
