"""Published archives unpacked: zip and tar, also in parts, going on where an interrupted unpacking stopped.

An archive can claim, or hold, far more than its own size. What it wants to write is added up as it is told, before
anything of it is written, and held against the limits below and the room on the disk. Audio hardly shrinks in an
archive, and annotations by a factor of ten.
"""

from __future__ import annotations

import io
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from datasets.store_files import aside_path
from datasets.tables import CorpusError

Progress = Callable[[int], None]
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, IndexError, OverflowError, NotImplementedError, RuntimeError),  # of zipfile: a method or a password
)
LARGEST = 4 * 2**40  # bytes unpacked
RATIO = 100  # of the bytes unpacked to those of the archive
ALWAYS = 2**28  # bytes that any archive may unpack to
MOST_MEMBERS = 5_000_000
DEEPEST = 32  # parts of a path
LONGEST_PATH = 4096
LONGEST_HEADER = 2**20  # bytes of what a tar says of a member besides its header, such as a long name
SPARE = 2**28  # bytes that stay free on the disk


class Joined(io.RawIOBase):
    """Files read as one, in order."""

    def __init__(self, parts: Sequence[IO[bytes]]) -> None:
        self.parts, self.place = parts, 0
        self.ends = []
        for part in parts:
            self.ends.append((self.ends[-1] if self.ends else 0) + part.seek(0, os.SEEK_END))

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.ends[-1]}[whence]
        return self.place

    def readinto(self, buffer: memoryview) -> int:
        for part, end, start in zip(self.parts, self.ends, [0, *self.ends], strict=False):
            if start <= self.place < end:
                part.seek(self.place - start)
                read = part.readinto(memoryview(buffer)[: end - self.place])
                self.place += read
                return read
        return 0


def unpack(parts: Sequence[Path], folder: Path, progress: Progress = lambda read: None) -> int:
    """Unpack an archive; files that are there already with their size stay as they are.

    Args:
        parts: Of the archive, in order.
        folder: Made if absent.
        progress: Called after each member with the bytes of the archive read for it.

    Returns:
        Files written.

    Raises:
        CorpusError: It is no archive, damaged, names a place outside the folder, or wants to write more than archives
            of music do, or than there is room for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with ExitStack() as stack:
            whole = io.BufferedReader(Joined([stack.enter_context(part.open("rb")) for part in parts]), 1 << 20)
            zipped = ".zip" in parts[0].name
            limits = _Limits(sum(part.stat().st_size for part in parts), parts, folder)
            members = _zip_members(whole, stack, limits) if zipped else _tar_members(whole, stack, limits)
            place = 0
            for name, size, opened in members:
                target = _inside(folder, name)
                if not (target.is_file() and target.stat().st_size == size):
                    limits.ask_room(size)
                    _write(target, opened)
                    written += 1
                progress(max(whole.tell() - place, 0))
                place = max(whole.tell(), place)
    except CorpusError:
        raise
    except DAMAGE as error:
        what = str(error) or type(error).__name__
        raise CorpusError(f"{', '.join(map(str, parts))}: cannot be unpacked into {folder} ({what})") from error
    return written


Member = tuple[str, int, Callable[[], IO[bytes]]]


class _Limits:
    """What an archive may want, and has wanted so far.

    Args:
        packed: Bytes of the archive.
        parts: Named in errors.
        folder: Where it is unpacked.
    """

    def __init__(self, packed: int, parts: Sequence[Path], folder: Path) -> None:
        self.most = min(LARGEST, max(ALWAYS, RATIO * packed))
        self.packed, self.named, self.folder = packed, ", ".join(map(str, parts)), folder
        self.members = self.bytes = 0

    def count(self, name: str, size: int) -> None:
        """Add a member, whether it is written or not.

        Raises:
            CorpusError: It is one too many, or too large, or lies too deep.
        """
        self.members, self.bytes = self.members + 1, self.bytes + size
        if size < 0 or self.bytes > self.most:
            raise CorpusError(
                f"{self.named}: {self.packed:,} bytes would become {self.bytes:,} and more, expected {self.most:,} at "
                f"most: it is not the published archive; nothing more of it is unpacked"
            )
        if self.members > MOST_MEMBERS:
            raise CorpusError(f"{self.named}: more than {MOST_MEMBERS:,} files: it is not the published archive")
        if len(name) > LONGEST_PATH or name.count("/") >= DEEPEST:
            raise CorpusError(f"{self.named}: {name!r:.80} lies too deep: it is not the published archive")

    def ask_room(self, size: int) -> None:
        """Make sure that so many bytes can be written.

        Raises:
            CorpusError: The disk has no room for them.
        """
        if (free := shutil.disk_usage(self.folder).free) < size + SPARE:
            raise CorpusError(
                f"{self.named}: {size:,} bytes more do not fit into {self.folder}, where {free:,} are free; make room, "
                f"and the same command goes on"
            )


class _Header(tarfile.TarInfo):
    """A header of a tar whose extension, which is read whole, is no longer than such things are."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        """Read a header; errors as in `tarfile`."""
        found = super().frombuf(buf, encoding, errors)
        if not (found.isfile() or found.isdir() or found.islnk() or found.issym()) and found.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"{found.size:,} bytes about one file")
        return found


def _zip_members(whole: IO[bytes], stack: ExitStack, limits: _Limits) -> Iterator[Member]:
    archive = stack.enter_context(zipfile.ZipFile(whole))
    files = [info for info in archive.infolist() if not info.is_dir()]
    lacking = 0
    for info in files:
        limits.count(info.filename, info.file_size)
        there = _inside(limits.folder, info.filename)
        lacking += 0 if there.is_file() and there.stat().st_size == info.file_size else info.file_size
    limits.ask_room(lacking)
    for info in files:
        yield info.filename, info.file_size, lambda info=info: archive.open(info)


def _tar_members(whole: IO[bytes], stack: ExitStack, limits: _Limits) -> Iterator[Member]:
    archive = stack.enter_context(tarfile.open(fileobj=whole, mode="r|*", tarinfo=_Header))  # noqa: SIM115
    for info in archive:
        limits.count(info.name, info.size)
        if info.isfile():
            yield info.name, info.size, lambda info=info: archive.extractfile(info)
        archive.members = []  # which it keeps of every member


def _inside(folder: Path, name: str) -> Path:
    target = folder / name
    if target == folder or not target.resolve().is_relative_to(folder.resolve()):
        raise CorpusError(f"an archive wants to write {name!r:.200}, outside {folder}: it is not the published one")
    return target


def _write(target: Path, opened: Callable[[], IO[bytes]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_path(target)
    try:
        with opened() as source, aside.open("wb") as destination:
            shutil.copyfileobj(source, destination, 1 << 20)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
