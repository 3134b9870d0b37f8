"""The user's own directory of this suite: pointers to runs not yet fully sent, and the embedded server's data.

The data lie in a private directory on a local disk, also where the rest is on a network file system.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from datasets.file_locks import close_lock, open_lock, wait_exclusive
from experiments.errors import UserError

log = logging.getLogger("ostinato.tracking")

REMEDY = "Set OSTINATO_HOME to a directory of yours that can be written to."
LOCAL = Path("/var/tmp")  # survives a restart of the machine
NETWORK = {
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "lustre", "beegfs", "gpfs", "ceph",
    "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "9p",
    "orangefs", "panfs", "wekafs",
}  # fmt: skip


def home() -> Path:
    """`$OSTINATO_HOME`, or `ostinato` in the user's data directory. The directory need not exist yet."""
    if given := os.environ.get("OSTINATO_HOME"):
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "ostinato"


def private_directory(path: Path) -> Path:
    """`path` as a directory that only its owner can enter (mode 0700), created when missing.

    Raises:
        UserError: it cannot be created, written or closed to others.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a private directory ({error.strerror}). {REMEDY}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written to. {REMEDY}")
    return path


def pending_directory(directory: Path | None = None) -> Path:
    """Where a file per run that is not fully sent lies (`<home>/pending`)."""
    return (directory or home()) / "pending"


def file_system(path: Path) -> str:
    """The type of the file system that `path` (or its nearest existing parent) lies on; empty when unknown."""
    while not path.exists() and path != path.parent:
        path = path.parent
    real, best, kind = os.path.realpath(path), "", ""
    with contextlib.suppress(OSError):
        for mount in psutil.disk_partitions(all=True):  # a later one hides an earlier one at the same place
            point = mount.mountpoint
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, mount.fstype
    return kind


def server_directory(home: Path) -> Path:
    """`<home>/mongo`; on a network file system a directory of this host on local disk instead, which is said.

    Raises:
        UserError: neither can be made and closed to others.
    """
    kind = file_system(home)
    if kind not in NETWORK:
        private_directory(home)
        return private_directory(home / "mongo")
    LOCAL.mkdir(exist_ok=True)
    local = owned_directory(LOCAL / f"ostinato-{os.getuid()}")
    name = f"mongo-{hashlib.sha256(os.fsencode(home)).hexdigest()[:10]}"
    directory = private_directory(_named(local, name))
    log.warning("%s lies on a network file system (%s): the database of this host is kept in %s", home, kind, directory)
    return directory


def _named(local: Path, name: str) -> Path:
    """The directory of this host under `local`: also one that was made when the host had another name."""
    ours = local / f"{name}-{socket.gethostname()}"
    if ours.exists() or file_system(local) in NETWORK:  # other hosts keep theirs there, too
        return ours
    earlier = sorted(local.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    return earlier[-1] if earlier else ours


def owned_directory(path: Path) -> Path:
    """`path` as a directory of ours, mode 0700, in a place where others may write too.

    Raises:
        UserError: another user made it, or it is a link.
        OSError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UserError(
                f"{path} belongs to another user; set OSTINATO_HOME to a directory of yours on a local disk"
            ) from None
        if found.st_mode & 0o077:
            path.chmod(0o700)
    return path


class LockHeld(UserError):
    """Another process holds a lock."""


@contextlib.contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting for it no longer than `seconds`.

    Raises:
        LockHeld: Another process holds it.
        UserError: The file cannot be made.
    """
    try:
        file = open_lock(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; set OSTINATO_HOME to a directory that can be written to") from error
    try:
        if not wait_exclusive(file, seconds):
            raise LockHeld(f"{path} has been held for {seconds:.0f} s by another process; see: fuser {path}")
        yield
    finally:
        close_lock(file)
