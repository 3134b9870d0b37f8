"""Looking into a file at any place, and parts of it strung together as a file of their own."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO

READ_AHEAD = 2**20  # bytes
FAR = 2**36  # bytes


class Peek:
    """Bytes of a file by position, read in large blocks from front to back.

    Args:
        file: Opened for reading, without a buffer of its own.
        ahead: Bytes read at a time.

    Attributes:
        size: Bytes of the file.
    """

    def __init__(self, file: BinaryIO, ahead: int = READ_AHEAD) -> None:
        self._file, self._ahead, self._start, self._data = file, ahead, 0, b""
        self.size = file.seek(0, os.SEEK_END)

    def __call__(self, position: int, count: int) -> bytes:
        """`count` bytes from a position on; fewer at the end of the file.

        Raises:
            OSError: The file cannot be read there.
        """
        if position >= self.size:  # where no file can be looked at, if a damaged header says so
            return b""
        begin = position - self._start
        if begin < 0 or begin + count > len(self._data):
            self._file.seek(position)
            self._start, self._data, begin = position, _read(self._file, max(count, self._ahead)), 0
        return self._data[begin : begin + count]


class Spans(io.RawIOBase):
    """Bytes and stretches of a file, one behind the other, read as one file.

    Args:
        file: Where the stretches lie; not closed with this.
        parts: Bytes, or (start, end) of a stretch.
        endless: Claim to be far longer, for a decoder that guesses from the size how much there is to decode. Who reads
            on comes to the end all the same; who looks for a tag at the claimed end finds zeros.

    Attributes:
        error: What reading met; code in C that reads cannot be told of it.
    """

    def __init__(self, file: BinaryIO, parts: Sequence[bytes | tuple[int, int]], endless: bool = False) -> None:
        self._file, self._parts = file, [part for part in parts if _length(part)]
        self._starts, self._position, self.error = [0], 0, None
        for part in self._parts:
            self._starts.append(self._starts[-1] + _length(part))
        self._end = FAR if endless else self._starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer as far as there is something; 0 at the end, or where reading failed."""
        done = 0
        if self._starts[-1] < self._position < self._end:
            done = min(len(buffer), self._end - self._position)
            buffer[:done] = bytes(done)
            self._position += done
        while done < len(buffer) and self._position < self._starts[-1]:
            number = bisect_right(self._starts, self._position) - 1
            part, within = self._parts[number], self._position - self._starts[number]
            count = min(len(buffer) - done, _length(part) - within)
            data = part[within : within + count] if isinstance(part, bytes) else self._stretch(part[0] + within, count)
            if not data:
                break
            buffer[done : done + len(data)] = data
            done += len(data)
            self._position += len(data)
        return done

    def _stretch(self, position: int, count: int) -> bytes:
        try:
            self._file.seek(position)
            return self._file.read(count) or b""
        except OSError as error:
            self.error = error
            return b""


def _length(part: bytes | tuple[int, int]) -> int:
    return len(part) if isinstance(part, bytes) else max(part[1] - part[0], 0)


def _read(file: BinaryIO, count: int) -> bytes:
    """A raw file may give less than it is asked for."""
    blocks = []
    while count > 0 and (block := file.read(count)):
        blocks.append(block)
        count -= len(block)
    return b"".join(blocks)
