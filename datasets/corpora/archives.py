"""Published archives unpacked: zip and tar, also in parts, going on where an interrupted unpacking stopped."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from datasets.tables import CorpusError

Progress = Callable[[int], None]
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


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


def unpack(parts: Sequence[Path], folder: Path, progress: Progress = lambda done: None) -> int:
    """Unpack an archive; files that are there already with their size stay as they are.

    Args:
        parts: Of the archive, in order.
        folder: Made if absent.
        progress: Told how many members are done.

    Returns:
        Files written.

    Raises:
        CorpusError: It is no archive, damaged, or names a place outside the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with ExitStack() as stack:
            whole = io.BufferedReader(Joined([stack.enter_context(part.open("rb")) for part in parts]), 1 << 20)
            zipped = ".zip" in parts[0].name
            members = _zip_members(whole, stack) if zipped else _tar_members(whole, stack)
            for number, (name, size, opened) in enumerate(members, 1):
                target = _inside(folder, name)
                if not (target.is_file() and target.stat().st_size == size):
                    _write(target, opened)
                    written += 1
                progress(number)
    except DAMAGE as error:
        raise CorpusError(f"{', '.join(map(str, parts))}: cannot be unpacked into {folder} ({error})") from error
    return written


Member = tuple[str, int, Callable[[], IO[bytes]]]


def _zip_members(whole: IO[bytes], stack: ExitStack) -> Iterator[Member]:
    archive = stack.enter_context(zipfile.ZipFile(whole))
    for info in archive.infolist():
        if not info.is_dir():
            yield info.filename, info.file_size, lambda info=info: archive.open(info)


def _tar_members(whole: IO[bytes], stack: ExitStack) -> Iterator[Member]:
    archive = stack.enter_context(tarfile.open(fileobj=whole, mode="r|*"))  # noqa: SIM115
    for info in archive:
        if info.isfile():
            yield info.name, info.size, lambda info=info: archive.extractfile(info)


def _inside(folder: Path, name: str) -> Path:
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise CorpusError(f"an archive wants to write {name!r}, outside {folder}: it is not the published one")
    return target


def _write(target: Path, opened: Callable[[], IO[bytes]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.aside")
    try:
        with opened() as source, aside.open("wb") as destination:
            shutil.copyfileobj(source, destination, 1 << 20)
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
