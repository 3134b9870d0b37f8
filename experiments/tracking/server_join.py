"""The server that has the data, whichever process started it: joining it, its status, and stopping it."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from pathlib import Path

import psutil

from datasets.processes import Identity, is_running
from experiments.errors import UserError
from experiments.tracking import data_holder
from experiments.tracking.data_holder import Holder, State, read_state, write_state
from experiments.tracking.endpoint import Endpoint, PasswordRefused, ask
from experiments.tracking.home import LockHeld, locked, server_directory
from experiments.tracking.home import home as default_home
from experiments.tracking.sockets import remove_socket

log = logging.getLogger("ostinato.tracking")

LISTEN_SECONDS = 10.0  # for a server started by another process to listen
STOP_SECONDS = 15.0
LOCK_SECONDS = 90.0
NOBODY_LISTENS = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


class Unreachable(Exception):
    """No process can reach the server at its address any more."""


def join(directory: Path, patience: int) -> str | None:
    """The URL of the server that has the data; None when there is none.

    Args:
        directory: Of the server. Call it under `start.lock`.
        patience: How many questions, of up to two seconds each, a server whose process runs may leave unanswered.

    Raises:
        UserError: It does not answer, or it is none that the suite has started.
    """
    holder = data_holder.find(directory, start_locked=True)
    if holder is None:
        return None
    if holder.endpoint is None:
        raise UserError(data_holder.in_use(directory))
    try:
        _wait_until_it_listens(holder.endpoint, holder.identity)
        for _ in range(patience):
            if version := answering(holder.endpoint, directory, holder.pid):
                _note(directory, holder, version)
                return holder.endpoint.url(directory)
            if not is_running(holder.identity):
                return None
    except Unreachable as problem:
        if not is_running(holder.identity):
            return None
        log.warning("the embedded server (process %d) is replaced: %s", holder.pid, problem)
        end(holder)
        return None
    raise UserError(
        f"the MongoDB of {directory} (process {holder.pid}) runs but does not answer. "
        f"Continue it with: kill -CONT {holder.pid} — or end it with: kill {holder.pid}"
    )


def answering(endpoint: Endpoint, directory: Path, pid: int, milliseconds: int = 2000) -> str | None:
    """The version of the server `pid` if it answers at its address; None when it does not yet, or not now.

    Raises:
        Unreachable: Another process listens there, or the password is not known any more.
    """
    try:
        if not endpoint.is_served_by(pid):
            raise Unreachable(f"another process listens at {endpoint}")
        url = endpoint.url(directory)
        if url is None:
            raise Unreachable(f"its password is missing from {directory}")
        answer = ask(url, milliseconds)
    except PasswordRefused:
        raise Unreachable(f"it does not take the password in {directory}") from None
    except OSError:
        return None
    return answer[1] if answer is not None and answer[0] == pid else None


def _wait_until_it_listens(endpoint: Endpoint, identity: Identity) -> None:
    """Give a server that was started just now, by a process that is gone, the time to open its address.

    Raises:
        Unreachable: It does not, or its socket has been removed (as /tmp is tidied, or a session of the user ends).
        UserError: Its socket lies in a file system that this process does not see.
    """
    deadline = time.monotonic() + LISTEN_SECONDS
    while is_running(identity):
        try:
            endpoint.is_served_by(identity.pid)
            return
        except NOBODY_LISTENS:
            if endpoint.is_hidden(identity.pid):
                raise UserError(
                    f"the embedded MongoDB (process {identity.pid}) listens at {endpoint}, which this process does not "
                    f"see: set XDG_RUNTIME_DIR to a directory that both see, and end it with: kill {identity.pid}"
                ) from None
            if endpoint.is_gone() or time.monotonic() > deadline:
                raise Unreachable(f"nothing listens at {endpoint}") from None
            time.sleep(0.03)
        except OSError:
            return


def _note(directory: Path, holder: Holder, version: str) -> None:
    """Record a server that was found otherwise than by the record."""
    state = holder.state(version)
    if read_state(directory) != state:
        with contextlib.suppress(OSError):  # it is found again in the same way
            write_state(directory, state)


def status(home: Path | None = None) -> State | None:
    """The server that runs for `home`, or None.

    Raises:
        UserError: The data are used by a process that cannot be seen from here.
    """
    directory = server_directory(home or default_home())
    holder = data_holder.find(directory)
    if holder is None:
        # LockHeld: another process is starting or stopping a server
        with contextlib.suppress(LockHeld), locked(directory / "start.lock", 0.0):
            holder = data_holder.find(directory, start_locked=True)
            if holder is None and data_holder.is_data_locked(directory):
                raise UserError(data_holder.in_use(directory))
    return holder.state(_version(directory, holder)) if holder else None


def stop(home: Path | None = None) -> bool:
    """Stop the server of `home`, even when it is in use; False when none was running.

    Raises:
        UserError: See `stop_server`.
    """
    directory = server_directory(home or default_home())
    with locked(directory / "start.lock", LOCK_SECONDS):
        return stop_server(directory)


def stop_server(directory: Path) -> bool:
    """Ask the server that has the data to end and wait for it; one that is frozen gets the request when it continues.

    Call it under `start.lock`.

    Returns:
        Whether a server was running.

    Raises:
        UserError: It has not ended yet, or the data are used by a process that cannot be seen from here.
    """
    holder = data_holder.find(directory, start_locked=True)
    if holder is None:
        if data_holder.is_data_locked(directory):
            raise UserError(data_holder.in_use(directory))
        tidy(directory)
        return False
    end(holder)
    tidy(directory)
    return True


def end(holder: Holder) -> None:
    """Ask a server to end and wait for it.

    Raises:
        UserError: It has not ended yet.
    """
    named = f"the embedded MongoDB (process {holder.pid})"
    try:
        process = psutil.Process(holder.pid)
        if is_running(holder.identity):
            process.send_signal(signal.SIGTERM)
            if process.status() == psutil.STATUS_STOPPED:
                raise UserError(f"{named} is frozen; it ends as soon as it is continued: kill -CONT {holder.pid}")
    except psutil.NoSuchProcess:
        pass
    deadline = time.monotonic() + STOP_SECONDS
    while is_running(holder.identity):
        if time.monotonic() > deadline:
            raise UserError(f"{named} is still shutting down")
        time.sleep(0.02)
    if holder.endpoint is not None:
        holder.endpoint.remove()


def tidy(directory: Path) -> None:
    """Take away what the last server left, and record that none runs. Call it when none does, under `start.lock`."""
    state = read_state(directory)
    if state is None or state.pid is None:
        return
    if state.socket:
        remove_socket(Path(state.socket))
    with contextlib.suppress(OSError):  # the record of a server that is gone does no harm
        write_state(directory, State(state.host, state.version))


def _version(directory: Path, holder: Holder) -> str:
    state = read_state(directory)
    if state is not None and state.pid == holder.pid:
        return state.version
    with contextlib.suppress(Unreachable):
        if holder.endpoint and (version := answering(holder.endpoint, directory, holder.pid)):
            return version
    return "of unknown version"
