"""Folding writers' part-indexes into one index, and several stores into one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datasets.store_format import (
    Header,
    StoreError,
    check_header,
    create_header,
    load_index,
    load_parquet,
    locked,
    part_paths,
    read_header,
    read_part,
    save_parquet,
    sync_folder,
    try_lock,
    union,
)
from datasets.store_shard import trim_shard
from datasets.wording import counted_noun

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
    held = {part: try_lock(part) for part in part_paths(path)}
    gone = [part for part, descriptor in held.items() if descriptor is not None]
    busy = {part.stem for part in held if part not in gone}
    try:
        if not gone or (busy and not even_if_busy):
            return
        parts = {part: read_part(part) for part in gone}
        index = union([load_parquet(path), *parts.values()])
        save_parquet(path, index)
        for part in gone:
            _trim(path, header, parts[part])
            part.unlink()
        for aside in path.glob(".*.aside"):  # of a process killed while replacing a file
            aside.unlink()
        _remove_orphans(path, set(pc.unique(index["shard"]).to_pylist()), busy)
    finally:
        for descriptor in filter(None, held.values()):
            os.close(descriptor)


def _trim(path: Path, header: Header, rows: pa.Table) -> None:
    places = pa.table({"shard": rows["shard"].cast(pa.string()), "end": pc.add(rows["offset"], rows["length"])})
    ends = places.group_by("shard").aggregate([("end", "max")])
    for shard, end in zip(ends["shard"].to_pylist(), ends["end_max"].to_pylist(), strict=True):
        trim_shard(path / "shards" / shard, header, end)


def _remove_orphans(path: Path, known: set[str], busy: set[str]) -> None:
    for shard in (path / "shards").iterdir():
        if shard.name not in known and shard.stem.rpartition("-")[0] not in busy:
            shard.unlink()


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
            found = read_header(destination) if (destination / "header.json").exists() else headers[0]
            for folder, header in zip(folders, headers, strict=True):
                _check_alike(folder, header, destination, found)
            tables = {folder: load_index(folder) for folder in folders}
            merged = _merged(load_index(destination), tables, destination)
            create_header(destination, found)
            for folder, table in tables.items():
                for shard in pc.unique(table["shard"]).to_pylist():
                    _link(folder / "shards" / shard, destination / "shards" / shard)
            sync_folder(destination / "shards")
            save_parquet(destination, merged)
    except OSError as error:
        raise StoreError(f"merge into {destination} failed: {error}; it holds what it held before") from error


def _check_alike(folder: Path, header: Header, destination: Path, found: Header) -> None:
    check_header(folder, header, found.fingerprint, found.kind, found.producer)
    for name in ("fingerprint", "item_shape", "dtype"):
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
                f"{counted_noun(len(unlike), 'id')}, "
                f"the first is {unlike[0]!r}; remove one of the stores, or rename its ids"
            )
        merged = union([merged, table])
    return merged


def _link(source: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}.aside")
    aside.unlink(missing_ok=True)
    try:
        try:
            os.link(source, aside)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copyfile(source, aside)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)  # renaming one hard link onto another of the same file leaves both
