"""The status of a home's server, and stopping it, whichever process started it."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import psutil

from datasets.processes import is_running
from experiments.errors import UserError
from experiments.tracking import data_holder
from experiments.tracking.data_holder import Holder
from experiments.tracking.endpoint import PasswordRefused, ask
from experiments.tracking.home import LockHeld, locked, server_directory
from experiments.tracking.home import home as default_home
from experiments.tracking.server_record import State, read_state, write_state
from experiments.tracking.sockets import remove_socket

STOP_SECONDS = 15.0
LOCK_SECONDS = 90.0


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
    try:
        if holder.endpoint and holder.endpoint.is_served_by(holder.pid) and (url := holder.endpoint.url(directory)):
            answer = ask(url)
            return answer[1] if answer else "of unknown version"
    except (OSError, PasswordRefused):
        pass
    return "of unknown version"
