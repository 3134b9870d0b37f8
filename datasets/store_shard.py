"""Shards: plain ``.npy`` files that grow at their end.

numpy pads the header of a ``.npy`` file so that a longer first axis fits into the same bytes. A writer adds rows behind
the last one and then states the new number of rows in one small write, so the file can be loaded at any time.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from datasets.npy_files import read_head
from datasets.store_files import StoreError, open_file
from datasets.store_format import Header

_PIECE = 2**22
_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)  # without it (not Linux) everything counts as being in memory


def shard_header(header: Header, rows: int) -> bytes:
    """The ``.npy`` header of a shard with ``rows`` rows; equally long for every number of rows."""
    buffer = io.BytesIO()
    fields = {"descr": np.dtype(header.dtype).str, "fortran_order": False, "shape": (rows, *header.item_shape)}
    npy.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte at the descriptor's position."""
    while len(data):
        data = data[os.write(descriptor, data) :]


class ShardWriter:
    """The shard that one writer is filling."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header
        self.rows = 0
        start = shard_header(header, 0)
        self._start = len(start)
        self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            write_all(self._descriptor, memoryview(start))
        except OSError:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def bytes(self) -> int:
        """Size of the rows, in bytes."""
        return self.rows * self.header.row_bytes

    def append(self, array: np.ndarray) -> int:
        """Add ``array`` ``[rows, *item_shape]`` and return its first row; after an OSError nothing of it stays."""
        first = self.rows
        try:
            write_all(self._descriptor, memoryview(array).cast("B"))
        except OSError:
            end = self._start + self.bytes
            os.ftruncate(self._descriptor, end)
            os.lseek(self._descriptor, end, os.SEEK_SET)
            raise
        self.rows += len(array)
        return first

    def sync(self) -> None:
        """Bring the rows to disk, then state their number in the file's header."""
        os.fsync(self._descriptor)
        os.pwrite(self._descriptor, shard_header(self.header, self.rows), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def reopen(self) -> None:
        """Go on behind the last row, after :meth:`close`; an OSError where that row is not there any more."""
        descriptor, end = open_file(self.path, os.O_RDWR), self._start + self.bytes
        if os.fstat(descriptor).st_size < end:
            os.close(descriptor)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        self._descriptor = descriptor


def trim_shard(path: Path, header: Header, rows: int) -> None:
    """Cut what a killed writer left behind row ``rows``; a shard that is damaged or has fewer stays as it is."""
    start = shard_header(header, rows)
    end = len(start) + rows * header.row_bytes
    with suppress(FileNotFoundError), open(open_file(path, os.O_RDWR), "r+b") as file:
        try:
            found = _data_start(file, path, header)
        except StoreError:  # which reading it tells
            return
        if found == len(start) and os.fstat(file.fileno()).st_size >= end:
            os.pwrite(file.fileno(), start, 0)
            file.truncate(end)


def stored_rows(path: Path, header: Header) -> int:
    """Whole rows in a shard, whatever its head states.

    Raises:
        StoreError: the file is missing, or is not an array of the store's type and shape.
    """
    try:
        with open(open_file(path), "rb") as file:
            start = _data_start(file, path, header)
            return (os.fstat(file.fileno()).st_size - start) // header.row_bytes
    except OSError as error:
        raise StoreError(f"shard {path}: {error.strerror}; restore it or rebuild the store") from error


def starts_alike(first: Path, second: Path, header: Header, rows: int) -> bool:
    """Whether two shards are equal in their first rows."""
    left = rows * header.row_bytes
    with open(open_file(first), "rb") as one, open(open_file(second), "rb") as other:
        _data_start(one, first, header)
        _data_start(other, second, header)
        while left:
            piece, there = one.read(min(left, _PIECE)), other.read(min(left, _PIECE))
            if piece != there or not piece:
                return False
            left -= len(piece)
    return True


class MappedShard:
    """A shard opened for reading.

    Its number of rows is taken from the file's size: rows that its header does not state yet are not in any index
    either.

    Attributes:
        rows: ``[rows, *item_shape]``, memory-mapped and read-only.

    Raises:
        StoreError: the file is missing, or is not an array of the store's type and shape.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._row_bytes, self._hits = header.row_bytes, 0
        try:
            self._file = open(open_file(path), "rb")  # noqa: SIM115 - as long as the mapping
            self._start = _data_start(self._file, path, header)
            count = (os.fstat(self._file.fileno()).st_size - self._start) // self._row_bytes
            size = self._start + count * self._row_bytes
            mapped = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise StoreError(f"shard {path}: {error.strerror}; restore it or rebuild the store") from error
        rows = np.frombuffer(mapped, dtype=header.dtype, offset=self._start) if count else np.empty(0, header.dtype)
        self.rows = rows.reshape(count, *header.item_shape)

    def copy(self, first: int, last: int) -> np.ndarray:
        """A new array with the rows ``first`` to ``last``.

        Pages in memory are fastest copied from the mapping. Those on disk are read with one call: faulting them in one
        by one was ten times slower.
        """
        start, size = self._start + first * self._row_bytes, (last - first) * self._row_bytes
        if self._in_memory(start + size - 1):
            return self.rows[first:last].copy()
        array = np.empty((last - first, *self.rows.shape[1:]), dtype=self.rows.dtype)
        buffer = memoryview(array).cast("B")
        while len(buffer):
            count = os.preadv(self._file.fileno(), [buffer], start)
            if not count:  # cut short since it was opened
                raise StoreError(f"shard {self._file.name} lost rows while open; restore it or rebuild the store")
            buffer, start = buffer[count:], start + count
        return array

    def _in_memory(self, position: int) -> bool:
        """Whether a byte is in the page cache; asked of one crop in 16 only, once 16 in a row were."""
        self._hits += 1
        if self._hits > 16 and self._hits % 16:
            return True
        try:
            os.preadv(self._file.fileno(), [bytearray(1)], position, _NO_WAIT)
        except BlockingIOError:
            self._hits = 0
            return False
        except OSError:  # a file system that cannot tell
            return True
        return True


def _data_start(file: io.BufferedReader, path: Path, header: Header) -> int:
    try:
        head = read_head(file)
    except ValueError as error:
        raise StoreError(f"shard {path} is damaged ({error}); restore it or rebuild the store") from error
    alike = head.dtype == np.dtype(header.dtype) and not head.fortran_order
    if not alike or not head.shape or head.shape[1:] != header.item_shape:
        raise StoreError(
            f"shard {path} holds {head.dtype} of shape {head.shape}, its store {header.dtype} of "
            f"[rows, *{header.item_shape}]; it belongs to another store: restore it or rebuild"
        )
    return file.tell()
