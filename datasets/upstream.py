"""Reading a folder of mels written track by track, as the MAEST code base keeps them, without converting it.

One file a track: ``.mmap`` is raw little-endian float16 ``[frames, 96]`` in C order without a header; ``.npy`` holds a
float array of the same shape. Values are un-normalised ``log10(1 + 10000 mel)``. Track ids are the files' POSIX paths
relative to the folder, with suffix, as in the ground-truth files of that code base.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.identity import FEATURE_SUFFIXES
from datasets.npy_files import map_array
from datasets.store import Reader, Store, check_range
from datasets.store_files import HEADER, StoreError
from datasets.store_format import Header
from datasets.system_folders import files_below
from datasets.text import pluralize
from datasets.windows import pad_centred

_RAW = np.dtype("<f2")


def open_features(
    path: str | Path,
    fingerprint: str | None = None,
    kind: str | None = None,
    producer: Mapping[str, Any] | None = None,
) -> Reader:
    """Open a store, or a folder of per-track ``.mmap``/``.npy`` mels, behind one protocol.

    Args:
        path: of the folder.
        fingerprint: which one a store must have. A folder of per-track files does not tell who made it: its header's
            fingerprint is None, and nothing is checked.
        kind: what must be in it; a folder of per-track files holds ``mel``.
        producer: parameters behind ``fingerprint``, to say what differs.

    Raises:
        StoreError: neither of the two, damage, or a store of something else.
    """
    path = Path(path)
    if os.path.lexists(path / HEADER):
        return Store(path, fingerprint, kind, producer)
    folder = UpstreamFolder(path)
    if kind is not None and kind != folder.header.kind:
        raise StoreError(f"{path} holds per-track mels, {kind} is needed; give a store of {kind}")
    return folder


class UpstreamFolder:
    """A folder of per-track mel files, read like a :class:`~datasets.store.Store`.

    Args:
        path: folder, searched with all its sub-folders.

    Attributes:
        header: kind ``mel`` with 96 bands, fingerprint None.
        path: of the folder.
        ids: of all tracks, sorted.

    Raises:
        StoreError: no such files, or files of another shape; all are looked at when the folder is opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.header = Header("mel", (96,), "float16", units="log10(1 + 10000 * mel power)")
        if not self.path.is_dir():
            raise StoreError(f"{self.path} is not a folder; give a store, or a folder of .mmap or .npy mels")
        found: dict[str, int] = {}
        bad: list[str] = []
        try:
            files = [file for file in files_below(self.path) if file.name.endswith(FEATURE_SUFFIXES)]
        except OSError as error:
            raise StoreError(
                f"{error.filename}: {error.strerror}; every folder below {self.path} must be readable"
            ) from error
        for file in files:
            try:
                found[Path(file.path).relative_to(self.path).as_posix()] = self._frames(file)
            except (OSError, ValueError) as error:
                bad.append(f"{file.path} ({error})")
        if bad:
            raise StoreError(
                f"{pluralize(len(bad), 'file')} below {self.path} {'holds' if len(bad) == 1 else 'hold'} no mels of "
                f"[frames, 96], for instance {'; '.join(bad[:3])}; extract them again, or remove them"
            )
        if not found:
            raise StoreError(f"{self.path} holds neither a store (header.json) nor any .mmap or .npy file")
        self.ids = sorted(found)
        self._lengths = found

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._lengths

    def length(self, id: str) -> int:
        """Frames of a track."""
        if id not in self._lengths:
            raise StoreError(f"{id!r} is not in {self.path}, which holds {len(self)} tracks, as {self.ids[0]!r}")
        return self._lengths[id]

    def read(self, id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames ``start`` to ``stop`` (default: the end) ``[frames, 96]`` float16; only these are read.

        Raises:
            StoreError: an unknown id, frames outside the track, or a file that changed since the folder was opened.
        """
        length = self.length(id)
        stop = length if stop is None else stop
        check_range(id, start, stop, length)
        try:
            if id.endswith(".mmap"):
                rows = np.fromfile(self.path / id, _RAW, 96 * (stop - start), offset=start * self.header.row_bytes)
                return rows.reshape(stop - start, 96).astype(np.float16, copy=False)
            return np.array(map_array(self.path / id)[start:stop], dtype=np.float16)
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path / id} changed since it was opened ({error}); open it again") from error

    def read_crop(self, id: str, start: int, length: int) -> np.ndarray:
        """A new array ``[length, 96]`` of the frames from ``start`` on, centred in ``header.fill``."""
        return pad_centred(self.read(id, start, min(start + length, self.length(id))), length, self.header.fill)

    def _frames(self, file: os.DirEntry[str]) -> int:
        if file.name.endswith(".npy"):
            array = map_array(Path(file.path))
            if array.ndim != 2 or array.shape[1] != 96 or array.dtype.kind != "f" or not len(array):
                raise ValueError(f"{array.dtype} {array.shape}")
            return len(array)
        if not stat.S_ISREG(file.stat().st_mode):
            raise ValueError("not a plain file")
        frames, rest = divmod(file.stat().st_size, self.header.row_bytes)
        if rest or not frames:
            raise ValueError(f"{file.stat().st_size} bytes, not a multiple of {self.header.row_bytes}")
        return frames
