"""Where the embedded server keeps its data and listens: local disk, private directories, short socket paths."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import stat
import sys
import tempfile
from pathlib import Path

from experiments.errors import UserError
from experiments.tracking.home import private_directory

log = logging.getLogger("ostinato.tracking")

SOCKET_NAME = "mongodb-27017.sock"  # the name mongod gives to the socket it always makes besides the one it is told of
LOCAL = Path("/var/tmp")  # survives a restart of the machine
SOCKET_PATH_LIMIT = 107  # bytes of a Unix socket's path, the terminating zero not counted
NETWORK = {
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "lustre", "beegfs", "gpfs", "ceph",
    "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "9p",
    "orangefs", "panfs", "wekafs",
}  # fmt: skip


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that `path` (or its nearest existing parent) lies on; empty when unknown."""
    while not path.exists() and path != path.parent:
        path = path.parent
    real, best, kind = os.path.realpath(path), "", ""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
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
    local = owned_directory(LOCAL / f"ostinato-{_user()}")
    directory = private_directory(local / f"mongo-{_digest(home)}-{socket.gethostname()}")
    log.warning("%s lies on a network file system (%s): the database of this host is kept in %s", home, kind, directory)
    return directory


def socket_path(home: Path) -> Path | None:
    """A path for the server's socket in a directory only its owner can enter; None where sockets are impossible."""
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        return None
    name = f"ostinato-{_user()}-{_digest(home)}"
    bases = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp", "/var/tmp"]
    for base in filter(None, bases):
        path = Path(base) / name / SOCKET_NAME
        if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
            continue
        try:
            owned_directory(path.parent)
        except (OSError, UserError):
            continue
        return path
    return None


def owned_directory(path: Path) -> Path:
    """`path` as a directory of ours, mode 0700, in a place where others may write too.

    Raises:
        UserError: somebody else made it, or it is a link.
        OSError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UserError(f"{path}: made by somebody else; set XDG_RUNTIME_DIR to a private directory") from None
        if found.st_mode & 0o077:
            path.chmod(0o700)
    return path


def _user() -> int | str:
    return os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
