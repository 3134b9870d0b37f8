"""Folding writers' part-indexes into one index, and several stores into one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datasets.store_files import (
    HEADER,
    SHARDS,
    StoreError,
    aside_path,
    locked,
    open_file,
    own_folder,
    part_paths,
    remove_own_asides,
    shard_paths,
    shard_token,
    sync_folder,
    try_lock,
)
from datasets.store_format import Header, check_header, create_header, read_header
from datasets.store_index import check_disjoint, load_index, load_parquet, read_part, save_parquet, union
from datasets.store_shard import starts_alike, stored_rows, trim_shard
from datasets.text import pluralize

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}


def consolidate(path: str | Path) -> None:
    """Fold the part-indexes of writers that are gone into ``index.parquet``.

    What killed writers left behind their last commit is removed. Writers at work, and readers, are not disturbed; a
    crash in the middle loses nothing.

    Raises:
        StoreError: no store there, or damage.
    """
    path = Path(path)
    header = read_header(path)
    with locked(path):
        _fold(path, header, even_if_busy=True)


def consolidate_if_idle(path: Path) -> None:
    """As :func:`consolidate`, unless another writer is at work (the last one to leave will do it)."""
    header = read_header(path)
    with locked(path):
        _fold(path, header, even_if_busy=False)


def _fold(path: Path, header: Header, even_if_busy: bool) -> None:
    shards, held = own_folder(path, SHARDS), {}
    try:
        for part in part_paths(path):
            held[part] = try_lock(part)
        gone = [part for part, descriptor in held.items() if descriptor is not None]
        busy = {part.stem for part in held if part not in gone}
        if not gone or (busy and not even_if_busy):
            return
        index = check_disjoint(union([load_parquet(path), *map(read_part, gone)]), path)
        save_parquet(path, index)
        ended = {part.stem for part in gone}
        ends = _ends(index)
        for shard in ends:
            if shard_token(shard) in ended:
                trim_shard(shards / shard, header, ends[shard])
        for part in gone:
            part.unlink()
        remove_own_asides(path)
        for shard in shard_paths(path):  # of killed writers
            if shard.name not in ends and shard_token(shard.name) not in busy:
                shard.unlink()
    finally:
        for descriptor in held.values():
            if descriptor is not None:
                os.close(descriptor)


def _ends(index: pa.Table) -> dict[str, int]:
    """Shards of an index, and where the last track of each ends."""
    places = pa.table({"shard": index["shard"].cast(pa.string()), "end": pc.add(index["offset"], index["length"])})
    ends = places.group_by("shard").aggregate([("end", "max")])
    return dict(zip(ends["shard"].to_pylist(), ends["end_max"].to_pylist(), strict=True))


def merge(sources: Sequence[str | Path], destination: str | Path) -> None:
    """Make ``destination`` hold the tracks of all ``sources`` as well as its own.

    Shards are hard-linked (copied only where the file system cannot), so this takes no room and next to no time, and
    the sources can be deleted afterwards. A merge that was interrupted can be repeated.

    Args:
        sources: stores of one fingerprint, kind, shape and type.
        destination: a store of the same, or a folder to create.

    Raises:
        StoreError: stores that do not belong together, one id with different arrays, or no room; the destination
            then is as it was.
    """
    folders, destination = [Path(source) for source in sources], Path(destination)
    if not folders:
        raise StoreError("merge: no sources; give at least one store")
    if any(folder.resolve() == destination.resolve() for folder in folders):
        raise StoreError(f"merge: the destination {destination} is among the sources; leave it out there")
    headers = [read_header(folder) for folder in folders]
    try:
        destination.mkdir(parents=True, exist_ok=True)
        with locked(destination):
            found = read_header(destination) if (destination / HEADER).exists() else headers[0]
            for folder, header in zip(folders, headers, strict=True):
                _check_alike(folder, header, destination, found)
            tables = {folder: load_index(folder) for folder in folders}
            own = load_index(destination)
            merged = check_disjoint(_merged(own, tables, destination), destination)
            shards = _shards(own, tables, destination, found)
            create_header(destination, found)
            for target, source in shards.items():
                _link(source, target)
            sync_folder(destination / SHARDS)
            save_parquet(destination, merged)
    except OSError as error:
        raise StoreError(f"merge into {destination} failed: {error}; it holds what it held before") from error


def _check_alike(folder: Path, header: Header, destination: Path, found: Header) -> None:
    check_header(folder, header, found.fingerprint, found.kind, found.producer)
    for name in ("fingerprint", "item_shape", "dtype", "fill"):
        if getattr(header, name) != getattr(found, name):
            raise StoreError(
                f"{folder} has {name}={getattr(header, name)}, {destination} {getattr(found, name)}; "
                "only stores of the same arrays can be merged"
            )


def _merged(own: pa.Table, tables: dict[Path, pa.Table], destination: Path) -> pa.Table:
    merged = own
    for folder, table in tables.items():
        places = pc.index_in(table["id"], value_set=merged["id"])
        twice = table.filter(pc.is_valid(places))
        other = merged.take(places.drop_null())
        same = pc.and_(*(pc.equal(twice[name], other[name]) for name in ("length", "checksum")))
        unlike = twice.filter(pc.invert(same))["id"].to_pylist()
        if unlike:
            raise StoreError(
                f"{folder} and {destination} (or an earlier source) hold different arrays for "
                f"{pluralize(len(unlike), 'id')}, "
                f"the first is {unlike[0]!r}; remove one of the stores, or rename its ids"
            )
        merged = union([merged, table])
    return merged


def _shards(own: pa.Table, tables: dict[Path, pa.Table], destination: Path, header: Header) -> dict[Path, Path]:
    """What is to be linked: paths in the destination, and the shards of which they become another name.

    Raises:
        StoreError: a shard is none of its store, has fewer rows than the index states, or would take the place of one
            that holds something else.
    """
    folder = own_folder(destination, SHARDS)
    chosen = {name: (folder / name, end) for name, end in _ends(own).items() if os.path.lexists(folder / name)}
    for source, table in tables.items():
        for name, end in _ends(table).items():
            shard = own_folder(source, SHARDS) / name
            if stored_rows(shard, header) < end:
                raise StoreError(f"shard {shard} is cut short; restore it, or rebuild its store, before merging")
            before, known = chosen.get(name, (shard, 0))
            same = os.path.samestat(before.lstat(), shard.lstat())
            if not same and not starts_alike(before, shard, header, min(known, end)):
                raise StoreError(
                    f"{before} and {shard} have one name and hold different arrays; rebuild one of the stores"
                )
            if end > known:
                chosen[name] = shard, end
    return {folder / name: shard for name, (shard, _) in chosen.items() if shard != folder / name}


def _link(source: Path, target: Path) -> None:
    aside = aside_path(target)
    aside.unlink(missing_ok=True)
    try:
        try:
            os.link(source, aside)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            with open(open_file(source), "rb") as whole, open(open_file(aside, _NEW), "wb") as copy:
                shutil.copyfileobj(whole, copy, 2**20)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)  # renaming one hard link onto another of the same file leaves both
