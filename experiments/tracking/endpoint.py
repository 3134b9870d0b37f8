"""Where a server listens: as mongod's arguments, as a URL, and as a place whose listener is known before it is trusted.

A Unix socket is protected by its folder. On TCP any user of the machine can connect, and can listen at the port once it
is free, so nothing that a wrong listener could use is ever sent there. mongod reads the password from a private file,
a new one at each start, and accepts nobody without it, not even to create a first user. A client proves by
SCRAM-SHA-256 that it knows the password without telling it, and requires the same of the server. A listener that passes
on to a later server of ours what a client says gets nowhere, for that server has another password.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import psutil
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from datasets.store_files import replace_file
from experiments.tracking.sockets import is_private, remove_socket

DATABASE = "ostinato"
LOOPBACK = "127.0.0.1"
PASSWORD = "password"  # name of the file
KNOCK_SECONDS = 1.0
SCRAM = "SCRAM-SHA-256"
OPTIONS = {  # how to log in as the user that knows mongod's key file, and as the one of servers started before
    "__system": f"authSource=local&authMechanism={SCRAM}",
    "ostinato": f"authSource=admin&authMechanism={SCRAM}",
}


class PasswordRefused(Exception):
    """The server does not take the password that is on record."""


@dataclass(frozen=True)
class Endpoint:
    """A Unix socket, or a port of 127.0.0.1.

    Attributes:
        socket: Path of the socket.
        port: Number of the port, where there is no socket.
        user: Whom to log in as at the port.
    """

    socket: str | None = None
    port: int | None = None
    user: str = "__system"

    def __str__(self) -> str:
        return self.socket or f"{LOOPBACK}:{self.port}"

    def prepare(self, directory: Path) -> list[str]:
        """Write the new password if one is needed, and return mongod's arguments.

        Raises:
            OSError: It cannot be written.
        """
        if self.socket is not None:
            folder = str(Path(self.socket).parent)
            return ["--bind_ip", self.socket, "--unixSocketPrefix", folder, "--filePermissions", "0600"]
        replace_file(directory / PASSWORD, secrets.token_hex(32).encode(), 0o600)
        listen = ["--bind_ip", LOOPBACK, "--port", str(self.port), "--nounixsocket"]
        key = ["--keyFile", str(directory / PASSWORD), "--setParameter", f"authenticationMechanisms={SCRAM}"]
        return [*listen, *key, "--setParameter", "enableLocalhostAuthBypass=0"]

    def url(self, directory: Path) -> str | None:
        """The address for a driver, with the database in its path; None where the password is missing."""
        if self.socket is not None:
            return f"mongodb://{quote(self.socket, safe='')}/{DATABASE}"
        try:
            password = (directory / PASSWORD).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return f"mongodb://{self.user}:{password}@{LOOPBACK}:{self.port}/{DATABASE}?{OPTIONS[self.user]}"

    def is_served_by(self, pid: int) -> bool:
        """Whether the listener here is the process `pid`. Nothing is sent.

        Raises:
            FileNotFoundError, ConnectionRefusedError: Nobody listens.
            OSError: Unknown: the listener does not take connections.
        """
        if self.socket is not None:
            os.lstat(self.socket)
            return is_private(Path(self.socket).parent) and _peer(self.socket) in (pid, None)
        before = _listens(pid, self.port)
        with socket.create_connection((LOOPBACK, self.port), KNOCK_SECONDS):
            # a listener at both ends of the attempt was there all the time, and so this connection is to it
            return before and _listens(pid, self.port)

    def is_gone(self) -> bool:
        """Whether the folder of the socket has been removed, or now belongs to another user."""
        return self.socket is not None and not is_private(Path(self.socket).parent)

    def is_hidden(self, pid: int) -> bool:
        """Whether the process `pid` sees its socket while this one does not, as with a /tmp of its own."""
        if self.socket is None:
            return False
        return os.path.lexists(f"/proc/{pid}/root{self.socket}") and not os.path.lexists(self.socket)

    def remove(self) -> None:
        """Take away what a server that has ended left here."""
        if self.socket is not None:
            remove_socket(Path(self.socket))


def parse(arguments: Sequence[str]) -> Endpoint | None:
    """The endpoint of a running server of ours by its command line; None when we would not have started it so."""
    given = dict(pairwise(arguments))
    where, port = given.get("--bind_ip", ""), given.get("--port", "")
    if where.startswith("/") and "--unixSocketPrefix" in given:
        return Endpoint(socket=where)
    if where != LOOPBACK or not port.isdecimal() or "--nounixsocket" not in arguments:
        return None
    if Path(given.get("--keyFile", "")).name == PASSWORD:
        return Endpoint(port=int(port))
    return Endpoint(port=int(port), user="ostinato") if "--auth" in arguments else None


def free_port() -> int:
    """A port of 127.0.0.1 that was free just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def ask(url: str, milliseconds: int = 2000) -> tuple[int, str] | None:
    """The process that answers at `url` and its version, as it reports itself; None when it is not ready.

    Raises:
        PasswordRefused: It does not take the password.
    """
    patience = dict.fromkeys(("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS"), milliseconds)
    client: MongoClient = MongoClient(url, directConnection=True, **patience)
    try:
        answer = client.admin.command({"serverStatus": 1, "metrics": 0, "wiredTiger": 0, "locks": 0})
        return int(answer["pid"]), str(answer["version"])
    except OperationFailure as error:
        if error.code == 18:
            raise PasswordRefused from error
        return None
    except PyMongoError:
        return None
    finally:
        client.close()


def _peer(path: str) -> int | None:
    """The process that listens at a Unix socket; None where the system does not tell."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(KNOCK_SECONDS)
        probe.connect(path)
        if sys.platform != "linux":
            return None
        return struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def _listens(pid: int, port: int | None) -> bool:
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    except psutil.Error as error:
        raise PermissionError(str(error)) from error
    return any(one.status == psutil.CONN_LISTEN and one.laddr == (LOOPBACK, port) for one in sockets)
