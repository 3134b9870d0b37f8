"""An embedded MongoDB that concurrent runs of one user share and that stops with the last of them.

Locks of the kernel (`flock`) decide, nothing else: who starts the server holds `start.lock`; who uses it holds a shared
lock on `clients.lock`, and whoever turns that into an exclusive one on leaving was the last. A killed client loses its
lock with its life. The server listens on a Unix socket of mode 0600 in a private directory, or, on request and where
sockets are impossible, on 127.0.0.1 with a generated password.

    with lease() as url:
        client = pymongo.MongoClient(url)
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from experiments.errors import UserError
from experiments.tracking import mongod, places
from experiments.tracking.home import home as default_home

log = logging.getLogger("ostinato.tracking")

DATABASE = "ostinato"
USER = "ostinato"
START_SECONDS = 60.0  # for a server to become ready; a clean start takes half a second
STOP_SECONDS = 15.0
LOCK_SECONDS = 90.0
RELEASE_SECONDS = 2.5  # whoever holds the start lock longer than that keeps the server himself
PATIENCE = 3  # questions, of up to two seconds each, to a server whose process lives
LOG_BYTES = 10 * 2**20
DATA_LOCKED, ADDRESS_TAKEN = 100, 48  # mongod's exit codes
FLAGS = (
    "--quiet",
    "--logappend",
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--setParameter",
    "diagnosticDataCollectionEnabled=0",
)


@dataclass(frozen=True)
class State:
    """What `server.json` holds; `pid` is None after an orderly stop."""

    host: str
    version: str
    pid: int | None = None
    pid_started: float | None = None
    socket: str | None = None
    port: int | None = None


@contextlib.contextmanager
def lease(home: Path | None = None, listen: str = "socket", keep_server: bool = False) -> Iterator[str]:
    """The URL of the running server, started if need be, for as long as the context lasts."""
    server = EmbeddedServer(home, listen, keep_server)
    try:
        yield server.acquire()
    finally:
        server.release()


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
        self.directory = places.server_directory(self.home)
        with _locked(self.directory / "start.lock", LOCK_SECONDS):
            if self._clients is None:
                self._clients = os.open(self.directory / "clients.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._clients, fcntl.LOCK_SH)
                self._pid = os.getpid()
                atexit.register(self.release)
            try:
                self.url = self._join(PATIENCE) or self._start()
            except BaseException:
                self._drop()
                raise
        return self.url

    def revive(self) -> str:
        """Start the server again if it is gone, and return its URL, which may be another one.

        Raises:
            UserError: it cannot be started, or the lease was released.
        """
        if self._clients is None or os.getpid() != self._pid:
            raise UserError("the lease on the embedded server has ended")
        with _locked(self.directory / "start.lock", LOCK_SECONDS):
            if self._clients is None:
                raise UserError("the lease on the embedded server has ended")
            self.url = self._join(1) or self._start()
        return self.url

    def release(self) -> None:
        """Give the lease back; the last one out stops the server unless it is to be kept. No-op in a forked child."""
        if self._clients is None or os.getpid() != self._pid:
            return
        atexit.unregister(self.release)
        try:
            with _locked(self.directory / "start.lock", RELEASE_SECONDS):
                if not self.keep_server and _try_exclusive(self._clients):
                    stop_server(self.directory, self._child)
        except (UserError, OSError) as error:
            log.warning("the embedded server was left running: %s", error)
        finally:
            self._drop()

    def _drop(self) -> None:
        if self._clients is not None:
            fcntl.flock(self._clients, fcntl.LOCK_UN)
            os.close(self._clients)
            self._clients = None
        if self._child is not None:
            self._child.poll()

    def _join(self, patience: int) -> str | None:
        """The URL of the recorded server if it is alive and the very process that was recorded."""
        if self._child is not None:
            self._child.poll()  # a dead child is no zombie of ours
        state = read_state(self.directory)
        if state is None or state.pid is None or state.host != socket.gethostname():
            return None
        for _ in range(patience):
            url = _url(self.directory, state)
            if url and _serving_pid(url) == state.pid:
                return url
            if not is_running(state):
                return None
        if is_running(state):
            raise UserError(
                f"the MongoDB of {self.directory} (process {state.pid}) runs but does not answer. "
                f"Continue it with: kill -CONT {state.pid} — or end it with: kill {state.pid}"
            )
        return None

    def _start(self) -> str:
        binary = mongod.find()
        _check_version(self.directory, binary)
        path = places.socket_path(self.home) if self.listen == "socket" else None
        _rotate(self.directory / "mongod.log")
        (self.directory / "data").mkdir(mode=0o700, exist_ok=True)
        for attempt in range(4):
            state = State(socket.gethostname(), binary.version, socket=str(path) if path else None)
            if path is None:
                state = State(state.host, state.version, port=_free_port())
                _password(self.directory)
            else:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.unlink(missing_ok=True)
            self._child = _spawn(binary, self.directory, state)
            try:
                return self._wait(state)
            except UserError:
                code = _end(self._child)
                if path is not None:
                    _remove_socket(path)
                if code != ADDRESS_TAKEN or attempt == 3:
                    raise
        raise AssertionError("unreachable")

    def _wait(self, state: State) -> str:
        """Wait until our own child, and nobody else, answers at the address; record it."""
        child = self._child
        assert child is not None
        state = State(**{**asdict(state), "pid": child.pid, "pid_started": psutil.Process(child.pid).create_time()})
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise UserError(_why(self.directory, child.returncode))
            if state.port is not None:
                _ensure_user(self.directory, state.port, child.pid)
            url = _url(self.directory, state)
            if url and _serving_pid(url, 500) == child.pid:
                write_state(self.directory, state)
                return url
            time.sleep(0.03)
        raise UserError(f"mongod was not ready after {START_SECONDS:.0f} s; see {self.directory / 'mongod.log'}")


def status(home: Path | None = None) -> State | None:
    """The server that runs for `home` on this host, or None."""
    directory = places.server_directory(home or default_home())
    state = read_state(directory)
    if state is None or state.pid is None or state.host != socket.gethostname() or not is_running(state):
        return None
    return state


def stop(home: Path | None = None) -> bool:
    """Stop the server of `home`, whether somebody uses it or not; False when none was running."""
    directory = places.server_directory(home or default_home())
    with _locked(directory / "start.lock", LOCK_SECONDS):
        return stop_server(directory)


def stop_server(directory: Path, child: subprocess.Popen[bytes] | None = None) -> bool:
    """Ask the recorded server to end and wait for it; one that is frozen gets the request when it thaws.

    Call it under `start.lock`. Returns whether a server was running.
    """
    state = read_state(directory)
    if state is None or state.pid is None or state.host != socket.gethostname():
        return False
    running = is_running(state)
    if running:
        process = psutil.Process(state.pid)
        process.send_signal(signal.SIGTERM)
        if process.status() == psutil.STATUS_STOPPED:
            log.warning("the embedded server (process %d) is frozen; it ends as soon as it is continued", state.pid)
            return True
        deadline = time.monotonic() + STOP_SECONDS
        while is_running(state) and time.monotonic() < deadline:
            if child is not None:
                child.poll()
            time.sleep(0.02)
        if is_running(state):
            log.warning("the embedded server (process %d) is still shutting down", state.pid)
            return True
    if state.socket:
        _remove_socket(Path(state.socket))
    write_state(directory, State(state.host, state.version))
    return running


def is_running(state: State) -> bool:
    """Whether the recorded process lives: the pid alone proves nothing, the time it was started does."""
    try:
        process = psutil.Process(state.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return state.pid_started is None or abs(process.create_time() - state.pid_started) < 1.0
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def read_state(directory: Path) -> State | None:
    """The content of `server.json`; None when it is missing or not readable as such."""
    try:
        return State(**json.loads((directory / "server.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_state(directory: Path, state: State) -> None:
    """Replace `server.json` (mode 0600)."""
    _write_private(directory / "server.json", json.dumps(asdict(state), indent=1) + "\n")


def _spawn(binary: mongod.Binary, directory: Path, state: State) -> subprocess.Popen[bytes]:
    if state.socket:
        where = ["--bind_ip", state.socket, "--unixSocketPrefix", str(Path(state.socket).parent)]
        where += ["--filePermissions", "0600"]
    else:
        where = ["--bind_ip", "127.0.0.1", "--port", str(state.port), "--auth", "--nounixsocket"]
    paths = ["--dbpath", str(directory / "data"), "--logpath", str(directory / "mongod.log")]
    null = subprocess.DEVNULL
    command = [str(binary.path), *paths, *FLAGS, *where]
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True, cwd=directory)


def _end(child: subprocess.Popen[bytes]) -> int:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return child.returncode


def _url(directory: Path, state: State) -> str | None:
    if state.socket:
        return f"mongodb://{quote(state.socket, safe='')}/{DATABASE}"
    try:
        password = (directory / "password").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return f"mongodb://{USER}:{password}@127.0.0.1:{state.port}/{DATABASE}?authSource=admin"


def _serving_pid(url: str, timeout: int = 2000) -> int | None:
    """The process that answers at `url`, by its own account; None when nobody does, or not to our password."""
    if not _accepts(url):
        return None
    client: MongoClient = MongoClient(
        url, serverSelectionTimeoutMS=timeout, connectTimeoutMS=timeout, socketTimeoutMS=timeout, directConnection=True
    )
    try:
        return int(client.admin.command({"serverStatus": 1, "metrics": 0, "wiredTiger": 0, "locks": 0})["pid"])
    except PyMongoError:
        return None
    finally:
        client.close()


def _accepts(url: str) -> bool:
    """Whether anybody listens at `url`: a refusal is known at once, without a driver's patience."""
    place = url.removeprefix("mongodb://").rsplit("@", 1)[-1].split("/")[0]
    unix = place.startswith("%2F")
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(place.replace("%2F", "/") if unix else ("127.0.0.1", int(place.split(":")[1])))
        except OSError:
            return False
    return True


def _remove_socket(path: Path) -> None:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else's file lies there
        path.parent.rmdir()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _password(directory: Path) -> None:
    if not (directory / "password").exists():
        _write_private(directory / "password", secrets.token_hex(32))


def _ensure_user(directory: Path, port: int, pid: int) -> None:
    """Create the one user with the generated password, over the exception for a server that has no user yet."""
    password = (directory / "password").read_text(encoding="ascii").strip()
    client: MongoClient = MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=500, directConnection=True)
    try:
        client.admin.command("createUser", USER, pwd=password, roles=["root"])
    except OperationFailure:
        return  # there is a user already: whether it is ours, the password will tell
    except PyMongoError:
        return  # not ready
    finally:
        client.close()


def _check_version(directory: Path, binary: mongod.Binary) -> None:
    state = read_state(directory)
    if state is not None and state.version.split(".")[0] != str(binary.major):
        raise UserError(
            f"{directory / 'data'} was written by MongoDB {state.version}, {binary.path} is {binary.version}: their "
            f"files are not interchangeable. Move {directory} away and send the runs again from the folders they are "
            f"in (python ex_pretrain.py sync runs), or set {mongod.VARIABLE} to a mongod {state.version.split('.')[0]}."
        )


def _why(directory: Path, code: int) -> str:
    if code == DATA_LOCKED:
        state = read_state(directory)
        host = f" on host {state.host}" if state and state.host != socket.gethostname() else ""
        return (
            f"another MongoDB{host} uses {directory / 'data'}: {_last_error(directory / 'mongod.log')}. "
            f"End it, or set OSTINATO_HOME to another directory, or OSTINATO_MONGO_URL to its address."
        )
    return f"mongod ended with code {code}: {_last_error(directory / 'mongod.log')}"


def _last_error(path: Path) -> str:
    """The last warning or error in a mongod log, or where to look."""
    try:
        lines = path.read_bytes()[-64_000:].decode("utf-8", "replace").splitlines()
    except OSError:
        return f"and left no log; is {path.parent} on a full disk?"
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("s") in ("E", "F"):
            detail = entry.get("attr", {}).get("error") or entry.get("attr", {}).get("reason") or ""
            return f"{entry.get('msg', '')} {detail if isinstance(detail, str) else json.dumps(detail)} (see {path})"
    return f"see {path}"


def _rotate(path: Path) -> None:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        os.replace(path, path.with_suffix(".log.1"))


def _write_private(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(aside, path)


def _try_exclusive(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting for it no longer than `seconds`."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; set OSTINATO_HOME to a directory that can be written to") from error
    try:
        deadline = time.monotonic() + seconds
        while not _try_exclusive(file):
            if time.monotonic() > deadline:
                raise UserError(f"{path} has been held for {seconds:.0f} s by another process; see: fuser {path}")
            time.sleep(0.02)
        yield
    finally:
        os.close(file)
