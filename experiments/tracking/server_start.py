"""Starting a server, and saying why one does not start."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import time
from pathlib import Path

from datasets.processes import end, identify
from experiments.errors import UserError
from experiments.tracking import data_holder, mongod
from experiments.tracking.data_holder import Holder, read_state, write_state
from experiments.tracking.endpoint import Endpoint, free_port
from experiments.tracking.server_join import STOP_SECONDS, Unreachable, answering
from experiments.tracking.sockets import new_socket, remove_socket, take_over

log = logging.getLogger("ostinato.tracking")

START_SECONDS = 60.0  # for a server to become ready; a clean start takes half a second
ADDRESS_TAKEN, ABORTED, NEWER_DATA, DATA_LOCKED = 48, 14, 62, 100  # mongod's exit codes
FREE = 1 << 20  # bytes; with less no server starts
FLAGS = (
    "--quiet",
    "--logappend",
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--setParameter",
    "diagnosticDataCollectionEnabled=0",
)


class DataInUse(UserError):
    """A server has the data already."""


class AddressTaken(UserError):
    """Somebody else listens at the address."""


def start(directory: Path, listen: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server on `directory/data` and wait until it answers.

    Args:
        directory: Of the server; no server must run on it. Call it under `start.lock`.
        listen: `socket`, or `tcp`.

    Returns:
        The child, and the URL.

    Raises:
        DataInUse: One does run on it, which began between the look and the start.
        UserError: It cannot be started; the message names the reason and a remedy.
    """
    binary = mongod.find()
    _check_version(directory, binary)
    try:
        mongod.rotate(directory / "mongod.log")
        (directory / "data").mkdir(mode=0o700, exist_ok=True)
        for attempt in range(4):
            try:
                return _start_at(_endpoint(directory, listen), directory, binary)
            except AddressTaken:
                if attempt == 3:
                    raise
    except OSError as error:
        raise UserError(_unwritable(error.filename or directory, error)) from error
    raise AssertionError("unreachable")


def damage_of_last(directory: Path) -> str | None:
    """A sentence if the server that was recorded last ended because its files are damaged."""
    state = read_state(directory)
    if state is None or state.pid is None:
        return None
    found = mongod.damage(directory / "mongod.log", state.pid)
    return _damaged(directory, found) if found else None


def _endpoint(directory: Path, listen: str) -> Endpoint:
    left = read_state(directory)
    if left is not None and left.socket:
        path = Path(left.socket)
        if listen == "socket" and take_over(path):
            return Endpoint(socket=left.socket)
        remove_socket(path)
    if listen == "socket":
        path, reasons = new_socket(directory)
        if path is not None:
            return Endpoint(socket=str(path))
        log.warning(
            "No place for a Unix socket that only you can open (%s): the embedded MongoDB listens on 127.0.0.1, behind "
            "a password.",
            "; ".join(reasons),
        )
    return Endpoint(port=free_port())


def _start_at(endpoint: Endpoint, directory: Path, binary: mongod.Binary) -> tuple[subprocess.Popen[bytes], str]:
    paths = ["--dbpath", str(directory / "data"), "--logpath", str(directory / "mongod.log")]
    child = None
    try:
        command = [str(binary.path), *paths, *FLAGS, *endpoint.prepare(directory)]
        null = subprocess.DEVNULL
        child = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True, cwd=directory)
        _wait(child, endpoint, directory)
        _record(child, endpoint, directory, binary.version)
        url = endpoint.url(directory)
        assert url is not None
        return child, url
    except BaseException:
        if child is not None:
            end(child, STOP_SECONDS)
        endpoint.remove()
        raise


def _wait(child: subprocess.Popen[bytes], endpoint: Endpoint, directory: Path) -> None:
    """Wait until our own child, and no other process, answers at the address.

    Raises:
        UserError: It ends, or does not in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise _why(directory, child)
        try:
            if answering(endpoint, directory, child.pid, 500):
                return
        except Unreachable:  # another process has the port, which the child will find taken
            pass
        time.sleep(0.03)
    raise UserError(f"mongod was not ready after {START_SECONDS:.0f} s; see {directory / 'mongod.log'}")


def _record(child: subprocess.Popen[bytes], endpoint: Endpoint, directory: Path, version: str) -> None:
    """Write `server.json`.

    Raises:
        UserError: It cannot be written, or the child has ended.
    """
    identity = identify(child.pid)
    if identity is None:
        child.wait()
        raise _why(directory, child)
    try:
        write_state(directory, Holder(identity, endpoint).state(version))
    except OSError as error:
        raise UserError(_unwritable(directory / "server.json", error)) from error


def _check_version(directory: Path, binary: mongod.Binary) -> None:
    state = read_state(directory)
    if state is not None and state.version.split(".")[0] != binary.version.split(".")[0]:
        raise UserError(
            f"{directory / 'data'} was written by MongoDB {state.version}, {binary.path} is {binary.version}: their "
            f"files are not interchangeable. {_move(directory)}, "
            f"or set {mongod.VARIABLE} to a mongod {state.version.split('.')[0]}."
        )


def _why(directory: Path, child: subprocess.Popen[bytes]) -> UserError:
    """Why a child ended that should have served."""
    code, file = child.returncode, directory / "mongod.log"
    if code == DATA_LOCKED and (directory / "data" / data_holder.LOCK).is_file():
        return DataInUse(data_holder.in_use(directory))
    if code == ADDRESS_TAKEN:
        return AddressTaken(f"mongod found its address taken: {mongod.last_error(file)}")
    if code == NEWER_DATA:
        return UserError(
            f"{directory / 'data'} was written by another version of MongoDB ({mongod.last_error(file)}). "
            f"{_move(directory)}, or set {mongod.VARIABLE} to a mongod of that version."
        )
    if code in (ABORTED, -signal.SIGABRT) and (found := mongod.damage(file, child.pid)):
        return UserError(_damaged(directory, found))
    full = " The disk is full." if shutil.disk_usage(directory).free < FREE else ""
    return UserError(f"mongod ended with code {code}: {mongod.last_error(file)}.{full}")


def _unwritable(path: object, error: OSError) -> str:
    remedy = "Free space there, or set OSTINATO_HOME to a directory on another disk."
    return f"{path}: cannot be written ({error.strerror}). {remedy}"


def _damaged(directory: Path, found: str) -> str:
    return f"The database files in {directory / 'data'} are damaged ({found}). {_move(directory)}."


def _move(directory: Path) -> str:
    return (
        f"Move {directory} away and send the runs again from the folders they are in (python ex_pretrain.py sync runs)"
    )
