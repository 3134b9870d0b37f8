"""Requests that no client library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TOKEN = "0123456789abcdef-secret"


@dataclass(frozen=True)
class Reply:
    """What came back; status 0: the connection was closed without an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """Of a problem document."""
        return self.json["detail"]


def head(method: str, target: str, port: int, **headers: Any) -> bytes:
    """A request with `TOKEN`, without its body; `_` of names is sent as `-`, None as nothing, a list several times."""
    lines = [f"{method} {target} HTTP/1.1"]
    usual = {"host": f"127.0.0.1:{port}", "authorization": f"Bearer {TOKEN}"}
    for name, value in (usual | headers).items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        lines += [f"{name.replace('_', '-')}: {one}" for one in values]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def post(port: int, body: bytes = b"", target: str = "/v1/tags/predict", **headers: Any) -> bytes:
    """An upload."""
    return head("POST", target, port, **{"content_length": len(body), **headers}) + body


def form(
    content: bytes, name: str = "song.wav", field: str = "audio", extra: bytes = b"", boundary: str = "x"
) -> bytes:
    """A form of one file."""
    start = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'.encode()
    return start + extra + b"\r\n" + content + f"\r\n--{boundary}--\r\n".encode()


def post_form(port: int, body: bytes, boundary: str = "x", **headers: Any) -> bytes:
    """An upload of a form."""
    return post(port, body, content_type=f"multipart/form-data; boundary={boundary}", **headers)


def chunked(body: bytes, size: int = 1000) -> bytes:
    """A body in chunks."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def send(port: int, data: bytes | Sequence[bytes], seconds: float = 60.0) -> Reply:
    """Send bytes to a service and receive what it answers, 100 Continue passed over."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        for piece in [data] if isinstance(data, bytes) else data:
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
        return receive(connection)


def receive(connection: socket.socket) -> Reply:
    """The next answer on a connection."""
    try:
        with connection.makefile("rb") as stream:
            while True:
                line = stream.readline()
                if not line:
                    return Reply(0)
                status, headers = int(line.split()[1]), {}
                while (line := stream.readline().strip()) and b":" in line:
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                if status != 100:
                    return Reply(status, headers, stream.read(int(headers.get("content-length", 0))))
    except ConnectionResetError:
        return Reply(0)
