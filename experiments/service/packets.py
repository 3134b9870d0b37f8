"""Messages between the service and its decoders: JSON, and beside it any amount of memory, copied once by the sender.

The memory is an anonymous file (memfd) whose descriptor is handed over. It has no name, so nothing is left of it when
the last process that has it open is gone, however that ends. It is sealed: the sender can change or shorten it no more.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
from typing import Any

LONGEST = 2**16  # bytes of JSON


class Ended(Exception):
    """The other side is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection that keeps messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(connection: socket.socket, about: dict[str, Any], content: bytes | memoryview | None = None) -> None:
    """Send a message.

    Args:
        connection: An end of `pair`.
        about: JSON-able.
        content: Any bytes.

    Raises:
        OSError: The other side is gone, or the memory is not to be had.
    """
    if content is None:
        connection.send(json.dumps(about).encode())
        return
    file = memory(content)
    try:
        socket.send_fds(connection, [json.dumps(about).encode()], [file])
    finally:
        os.close(file)


def memory(content: bytes | memoryview) -> int:
    """A sealed anonymous file with some content; returns its descriptor."""
    file = os.memfd_create("ostinato", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(content).cast("B")
        while len(rest):
            rest = rest[os.write(file, rest) :]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _seals())
    except BaseException:
        os.close(file)
        raise
    return file


def receive(connection: socket.socket) -> tuple[dict[str, Any], mmap.mmap | None]:
    """Take the next message: what it says, and its memory, writable without effect on anything else.

    Raises:
        BlockingIOError: There is none yet, and the connection does not wait.
        Ended: There will be no more.
        ValueError: It is not a message of `send`.
    """
    try:
        text, files, _, _ = socket.recv_fds(connection, LONGEST, 1, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        raise Ended from None
    try:
        if not text:
            raise Ended
        about = _read(text)
        return about, mapped(files[0]) if files else None
    finally:
        for file in files:
            os.close(file)


def mapped(file: int) -> mmap.mmap:
    """The content of a file of `memory`; reading one that is not sealed could end this process."""
    if fcntl.fcntl(file, fcntl.F_GET_SEALS) & _seals() != _seals():
        raise ValueError("memory that its sender can still change")
    return mmap.mmap(file, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)


def _read(text: bytes) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except RecursionError:
        raise ValueError("a message that is nested too deeply") from None
    if not isinstance(about, dict):
        raise ValueError(f"a message of type {type(about).__name__}")
    return about


def _seals() -> int:
    """All seals; a function, since other systems than Linux have no such constants, and import this module too."""
    return fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
