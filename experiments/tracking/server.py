"""An embedded MongoDB that concurrent runs of one user share and that stops with the last of them.

Locks of the kernel (`flock`) decide, nothing else: who starts the server holds `start.lock`; who uses it holds a shared
lock on `clients.lock`, and the client that can turn its share into an exclusive lock when it leaves was the last. A
killed client loses its lock. The lock on its data tells which server runs (`data_holder`), also when our record of
it is missing or old. It listens on a Unix socket of mode 0600 in a private folder (`sockets`), or, on request and where
sockets are impossible, on 127.0.0.1 behind a password (`endpoint`).
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import subprocess
from pathlib import Path

from datasets.file_locks import close_lock, open_lock, try_exclusive
from experiments.errors import UserError
from experiments.tracking.endpoint import DATABASE
from experiments.tracking.home import home as default_home
from experiments.tracking.home import locked, server_directory
from experiments.tracking.server_join import LOCK_SECONDS, join, status, stop, stop_server
from experiments.tracking.server_start import DataInUse, damage_of_last, start

__all__ = ["DATABASE", "EmbeddedServer", "status", "stop", "stop_server"]

log = logging.getLogger("ostinato.tracking")

RELEASE_SECONDS = 2.5  # another client that holds the start lock longer keeps the server running
PATIENCE = 3  # questions, of up to two seconds each, to a server whose process runs


class EmbeddedServer:
    """One client's share of the server of `home`."""

    def __init__(self, home: Path | None = None, listen: str = "socket", keep_server: bool = False):
        self.home, self.listen, self.keep_server = home or default_home(), listen, keep_server
        self.url = ""
        self._clients: int | None = None
        self._pid = 0
        self._child: subprocess.Popen[bytes] | None = None

    def acquire(self) -> str:
        """Take a lease, joining the running server or starting one, and return its URL (the database included).

        Raises:
            UserError: no server can run here; the message names the reason and a remedy.
        """
        self.directory = server_directory(self.home)
        with locked(self.directory / "start.lock", LOCK_SECONDS):
            if self._clients is None:
                self._clients = open_lock(self.directory / "clients.lock")
                fcntl.flock(self._clients, fcntl.LOCK_SH)
                self._pid = os.getpid()
                atexit.register(self.release)
            try:
                self.url = self._join(PATIENCE)
                if not self.url:
                    if reason := damage_of_last(self.directory):
                        log.warning("%s", reason)
                    self.url = self._start()
            except BaseException:
                self._drop()
                raise
        return self.url

    def revive(self) -> str:
        """Start the server again if it is gone, and return its URL, which may be another one.

        Raises:
            UserError: it cannot be started, it ended because of damaged files, or the lease was released.
        """
        if self._clients is None or os.getpid() != self._pid:
            raise UserError("the lease on the embedded server has ended")
        with locked(self.directory / "start.lock", LOCK_SECONDS):
            if self._clients is None:
                raise UserError("the lease on the embedded server has ended")
            url = self._join(1)
            if not url and (reason := damage_of_last(self.directory)):
                raise UserError(reason)  # it would end again at the first question about the damaged file
            self.url = url or self._start()
        return self.url

    def release(self) -> None:
        """Give the lease back; the last one out stops the server unless it is to be kept. No-op in a forked child."""
        if self._clients is None or os.getpid() != self._pid:
            return
        atexit.unregister(self.release)
        try:
            with locked(self.directory / "start.lock", RELEASE_SECONDS):
                if not self.keep_server and try_exclusive(self._clients):
                    stop_server(self.directory)
        except (UserError, OSError) as error:
            log.warning("the embedded server was left running: %s", error)
        finally:
            self._drop()

    def _join(self, patience: int) -> str:
        if self._child is not None:
            self._child.poll()  # a dead child is no zombie of ours
        return join(self.directory, patience) or ""

    def _start(self) -> str:
        try:
            self._child, url = start(self.directory, self.listen)
        except DataInUse:  # an abandoned server was still starting when we looked
            url = self._join(PATIENCE)
            if not url:
                self._child, url = start(self.directory, self.listen)
        return url

    def _drop(self) -> None:
        if self._clients is not None:
            close_lock(self._clients)
            self._clients = None
        if self._child is not None:
            self._child.poll()
