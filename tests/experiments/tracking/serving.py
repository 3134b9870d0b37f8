"""A server for as long as a test needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from experiments.tracking.server import EmbeddedServer


@contextlib.contextmanager
def lease(home: Path | None = None, listen: str = "socket", keep_server: bool = False) -> Iterator[str]:
    """The URL of the running server, started if need be, for as long as the context lasts."""
    server = EmbeddedServer(home, listen, keep_server)
    try:
        yield server.acquire()
    finally:
        server.release()
