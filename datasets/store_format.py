"""The files of a store, and what each says about the arrays in it.

    header.json          what every array is, who made it, and the fingerprint of the maker's parameters
    index.parquet        one row a track, sorted by id; written by :func:`datasets.store_merge.consolidate`
    parts/<writer>.jsonl the rows committed by one writer since then; locked (flock) while its writer lives
    shards/<writer>-<n>.npy   plain arrays ``[rows, *item_shape]``, the tracks one behind the other
    .lock                held while the header or ``index.parquet`` is replaced

The index is the truth of what exists. Shards only grow, and a row enters an index after its bytes are on disk, so a
reader never meets half a track, whatever happens to the writers. How the files are opened is in
:mod:`datasets.store_files`, the index in :mod:`datasets.store_index`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import index
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np

from datasets import plain_json
from datasets.store_files import HEADER, StoreError, own_folders, read_file, replace_file

FORMAT_VERSION = 1
KINDS = ("mel", "audio", "embeddings", "logits", "predictions")
_FORMER_KINDS = {"answers": "predictions"}  # of stores made before
_MOST_AXES, _MOST_ROW, _MOST_HEADER = 16, 2**31, 2**26  # of a row: axes and bytes; bytes of header.json


@dataclass(frozen=True)
class Header:
    """What every array of a store is.

    Attributes:
        kind: one of :data:`KINDS`.
        item_shape: shape of one row, that is of an array without its first axis: ``(96,)``, ``(3, 768)``, ``(400,)``;
            ``()`` for audio, whose rows are samples.
        dtype: numpy name of the stored type, for instance ``float16``.
        units: what a number means, for instance ``log10(1 + 10000 * mel power)``.
        producer: JSON-able parameters of whatever computed the arrays.
        fingerprint: of those parameters; None where the maker is unknown (upstream folders).
        fill: value of silence, which takes the place of rows that a crop wants beyond a track.
        version: of this file format.

    Raises:
        StoreError: a value of another type than these, or a row that no array could have.
    """

    kind: str
    item_shape: tuple[int, ...]
    dtype: str = "float16"
    units: str = ""
    producer: Mapping[str, Any] | None = None
    fingerprint: str | None = None
    fill: float = 0.0
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if isinstance(self.kind, str):
            object.__setattr__(self, "kind", _FORMER_KINDS.get(self.kind, self.kind))
        if self.kind not in KINDS:
            raise StoreError(f"kind={shown(self.kind)}: a store holds one of {', '.join(KINDS)}")
        object.__setattr__(self, "item_shape", _shape(self.item_shape))
        object.__setattr__(self, "dtype", _dtype(self.dtype))
        if self.row_bytes > _MOST_ROW:
            raise StoreError(f"item_shape={self.item_shape}: a row has at most {_MOST_ROW // 2**30} GiB")
        if not isinstance(self.units, str):
            raise StoreError(f"units={shown(self.units)}: expected a text")
        if not isinstance(self.fingerprint, str | None):
            raise StoreError(f"fingerprint={shown(self.fingerprint)}: expected a text, or null where it is not known")
        object.__setattr__(self, "fill", _fill(self.fill))
        if not isinstance(self.producer, Mapping | None):
            raise StoreError(f"producer={shown(self.producer)}: expected a mapping of parameters")
        try:
            object.__setattr__(self, "producer", plain_json.parse(json.dumps(dict(self.producer or {}))))
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"producer: {error}; give plain numbers, texts, lists and dicts") from error

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.item_shape) * np.dtype(self.dtype).itemsize


def _shape(given: Sequence[int]) -> tuple[int, ...]:
    try:
        if isinstance(given, str) or len(given) > _MOST_AXES or any(isinstance(size, bool) for size in given):
            raise TypeError
        shape = tuple(map(index, given))
    except TypeError:
        raise StoreError(f"item_shape={shown(given)}: expected a list of at most {_MOST_AXES} whole numbers") from None
    if any(size < 1 for size in shape):
        raise StoreError(f"item_shape={shape}: every size must be at least 1")
    return shape


def _fill(given: float) -> float:
    if type(given) not in (int, float) or not -(2.0**128) < given < 2.0**128:
        raise StoreError(f"fill={shown(given)}: expected a finite number, the value of silence")
    return float(given)


def _dtype(given: str) -> str:
    try:
        dtype = None if given is None else np.dtype(given)
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None:
        raise StoreError(f"dtype={shown(given)} is not a numpy type; use float16 or float32")
    if dtype.kind not in "fiub":
        raise StoreError(f"dtype={shown(given)}: a store holds real numbers; use float16 or float32")
    return dtype.name


def read_header(path: Path) -> Header:
    """The header of the store at ``path``.

    Raises:
        StoreError: no store there, a damaged header, or one of a later format.
    """
    file = path / HEADER
    try:
        stored = plain_json.parse(read_file(file, _MOST_HEADER))
    except (FileNotFoundError, NotADirectoryError) as error:
        what = f"holds no {HEADER}" if path.is_dir() else "does not exist"
        raise StoreError(f"no store at {path}: it {what}; give the folder that was written as a store") from error
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read ({error}); restore it from a backup") from error
    version = stored.get("version") if isinstance(stored, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise StoreError(f"{path}: store format {shown(version)}, {FORMAT_VERSION} can be read; update, or rebuild it")
    known = {one.name for one in fields(Header)}  # what later versions add is passed over
    try:
        return Header(**{name: value for name, value in stored.items() if name in known})
    except (TypeError, StoreError) as error:
        raise StoreError(f"{file} is not a store's header: {error}") from error


def create_header(path: Path, header: Header) -> Header:
    """Make ``path`` a store of ``header``, or return the header it has already; call under ``locked``."""
    found = read_header(path) if (path / HEADER).exists() else None
    own_folders(path)
    if found is None:
        replace_file(path / HEADER, json.dumps(asdict(header), indent=1, sort_keys=True).encode() + b"\n")
    return found or header


def producer_differences(found: Mapping[str, Any] | None, expected: Mapping[str, Any] | None) -> str:
    """One line with the parameters that differ, or with those of the store where there is nothing to compare with."""
    found, expected = dict(found or {}), dict(expected or {})
    if not expected:
        return f"its producer: {json.dumps(found, sort_keys=True, default=str)}"
    absent = "absent"
    keys = [key for key in sorted({*found, *expected}) if found.get(key, absent) != expected.get(key, absent)]
    if not keys:
        return "the listed parameters of both producers are equal"
    lines = [f"{key}: {found.get(key, absent)!r} in the store, {expected.get(key, absent)!r} expected" for key in keys]
    return "; ".join(lines)


def check_header(
    path: Path, found: Header, fingerprint: str | None, kind: str | None, producer: Mapping[str, Any] | None = None
) -> None:
    """Compare a store's header with what the caller needs; None means any.

    Raises:
        StoreError: naming what the store is, what is needed, and the parameters that differ.
    """
    kind = _FORMER_KINDS.get(kind, kind) if kind else kind
    if kind is not None and kind != found.kind:
        raise StoreError(
            f"{path} holds {found.kind}, {kind} is needed; give a store of {kind}, or a new folder to make one"
        )
    if fingerprint is not None and fingerprint != found.fingerprint:
        differences = producer_differences(found.producer, producer)
        raise StoreError(
            f"{path} was made by another producer: fingerprint {found.fingerprint}, needed {fingerprint} "
            f"({differences}); use the store that belongs to it, or build it again"
        )
