"""The files of a store: which names are its own, and how they are opened, replaced, locked and removed.

A store may come from anywhere, so nothing in it is followed out of it: ``shards`` and ``parts`` are real folders, what
is opened there is a plain file under a name of one pattern, and nothing else is ever written or removed. Whatever lies
beside these (the ``@eaDir`` of a NAS) is somebody else's and passed over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HEADER, INDEX, SHARDS, PARTS, LOCK = "header.json", "index.parquet", "shards", "parts", ".lock"
_TOKEN = "[0-9a-f]{12}"
_SHARD = re.compile(rf"({_TOKEN})-[0-9]{{4,9}}\.npy")
_PART = re.compile(rf"({_TOKEN})\.jsonl")
_REPLACED = rf"{re.escape(HEADER)}|{re.escape(INDEX)}"
_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would be waited for


class StoreError(ValueError):
    """A store, or a file that stands for one, that cannot be read or written as asked."""


def new_token() -> str:
    """What tells one writer's files from those of all others."""
    return secrets.token_hex(6)


def shard_name(token: str, number: int) -> str:
    """Name of a writer's shard."""
    return f"{token}-{number:04d}.npy"


def shard_token(name: str) -> str | None:
    """Whose shard this is; None where it is not the name of a shard."""
    found = _SHARD.fullmatch(name)
    return found[1] if found else None


def own_folder(path: Path, name: str) -> Path:
    """The folder ``shards`` or ``parts`` of the store at ``path``, whether it is there or not.

    Raises:
        StoreError: it is a link, and two stores could share what each believes to be its own; or no folder.
    """
    folder = path / name
    try:
        mode = folder.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return folder
    if stat.S_ISLNK(mode):
        raise StoreError(
            f"{folder} is a link: a store keeps its {name} in a real folder of its own; move what it leads to here, or "
            "move the whole store there and make its folder the link"
        )
    if not stat.S_ISDIR(mode):
        raise StoreError(f"{folder} is not a folder, so this is not a whole store; restore it from a backup")
    return folder


def own_folders(path: Path) -> None:
    """Make ``shards`` and ``parts`` where they are missing (git and archives leave out empty folders)."""
    for name in (SHARDS, PARTS):
        with suppress(FileExistsError):
            own_folder(path, name).mkdir()


def part_paths(path: Path) -> list[Path]:
    """The part-indexes present, by name."""
    return _listed(own_folder(path, PARTS), _PART)


def shard_paths(path: Path) -> list[Path]:
    """The shards present, by name."""
    return _listed(own_folder(path, SHARDS), _SHARD)


def _listed(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one in entries if pattern.fullmatch(one.name) and not one.is_dir()]
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names)]


def open_file(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """A descriptor of a plain file of a store.

    Raises:
        StoreError: it is a link, which may lead anywhere, or something else than a file.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | _SAFELY, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(
                f"{path} is a link: the files of a store lie in its own folders; put the file itself there (cp -L)"
            ) from error
        if error.errno == errno.ENXIO:  # a pipe opened for writing, or a socket
            raise StoreError(f"{path} is not a plain file; restore it or remove it") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is not a plain file; restore it or remove it")
    return descriptor


def read_file(path: Path, most: int) -> bytes:
    """The content of a plain file of at most ``most`` bytes.

    Raises:
        StoreError: it is larger, or no plain file.
        OSError: it cannot be read.
    """
    with open(open_file(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise StoreError(f"{path} has more than {most} bytes, which no such file of a store has; restore it")
        return file.read()


def file_size(path: Path) -> int:
    """Bytes of a plain file.

    Raises:
        StoreError: it is no plain file.
        OSError: it cannot be opened.
    """
    descriptor = open_file(path)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write ``data`` aside, bring it to disk, and put it in the place of ``path``, even of a link.

    Args:
        path: what is replaced.
        data: the new content.
        mode: who may open the file, less what the umask takes away.
    """
    aside = aside_path(path)
    aside.unlink(missing_ok=True)
    try:
        with open(open_file(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def aside_path(path: Path) -> Path:
    """Where this process writes what is to take the place of ``path``."""
    return path.with_name(f".{path.name}.{os.getpid()}.aside")


def sync_folder(path: Path) -> None:
    """Bring a folder's entries (new names, replaced names) to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_asides(folder: Path, names: str) -> None:
    """Remove what processes left that were killed while replacing a file; call where no other process can do so.

    Args:
        folder: of the files.
        names: a pattern of what they are called.
    """
    for aside in _listed(folder, re.compile(rf"\.({names})\.[0-9]+\.aside")):
        aside.unlink(missing_ok=True)


def remove_own_asides(path: Path) -> None:
    """Remove those of the store at ``path``; call under :func:`locked`."""
    remove_asides(path, _REPLACED)
    remove_asides(own_folder(path, SHARDS), _SHARD.pattern)


def remove_all(path: Path) -> None:
    """Remove every file of the store at ``path`` and nothing else: what names tracks first, the header last.

    Raises:
        StoreError: ``shards`` or ``parts`` is a link.
    """
    with locked(path):
        shards, parts = shard_paths(path), part_paths(path)
        remove_own_asides(path)
        for file in (path / INDEX, *parts, *shards, path / HEADER):
            file.unlink(missing_ok=True)


def open_lock(path: Path) -> int:
    """A descriptor for taking the lock of a file that nobody can hold but those who may write into its folder.

    A lock can be taken by whoever can open the file, if only for reading, and kept for ever. A file that was made
    before with a wider mode is closed to all others, where the file system has modes and the file is ours.

    Raises:
        StoreError: a link, or a file that a third user put there and others can open.
        OSError: it cannot be opened.
    """
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT, 0o600)
    folder, file = path.parent.stat(), os.fstat(descriptor)
    wanted, found = 0o600, file.st_mode & 0o666
    if folder.st_mode & stat.S_IWGRP:
        wanted |= 0o060
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        wanted |= 0o006
    if found != wanted:
        try:
            os.fchmod(descriptor, wanted)
        except OSError as error:
            if found & ~wanted and file.st_uid not in (os.geteuid(), folder.st_uid):
                os.close(descriptor)
                raise StoreError(
                    f"{path} belongs to another user and others can open it, who could hold it for ever; remove it "
                    "while nobody writes here, or let its owner run chmod o= on it"
                ) from error
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among the processes that change the store's header, its index or its list of parts."""
    descriptor = open_lock(path / LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path, flags: int = os.O_RDWR) -> int | None:
    """An open descriptor holding the lock of ``path``, or None while another process holds it."""
    descriptor = open_file(path, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
