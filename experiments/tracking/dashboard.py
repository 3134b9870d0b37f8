"""`dashboard`: the run browser on the database that runs go to."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import signal
import threading
from collections.abc import Sequence

from pymongo.errors import OperationFailure, PyMongoError

from experiments.errors import UserError
from experiments.tracking.cli import tracking_settings
from experiments.tracking.database import seed_columns
from experiments.tracking.location import Location, located, open_database
from experiments.tracking.masking import for_terminal, mask
from experiments.tracking.omniboard import FIRST_PORT, Omniboard

FIRST_RUN = "python ex_pretrain.py with maest_10s_random_weights_pretrain demo"


def ssh_hint(port: int) -> str | None:
    """Return the command that brings the page to the computer one has logged in from; None for a local session."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    if len(connection) != 4:
        return None
    return f"ssh -L {port}:127.0.0.1:{port} {getpass.getuser()}@{connection[2]}"


def stop_event() -> threading.Event:
    """Return an event that is set by Ctrl-C, SIGTERM or SIGHUP, and when the parent process is gone.

    Under `nohup`, where SIGHUP is ignored, the parent may go.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return stop
    signal.signal(signal.SIGHUP, lambda *_: stop.set())
    parent = os.getppid()

    def follow() -> None:
        while not stop.wait(1.0):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=follow, name="parent", daemon=True).start()
    return stop


def count_runs(location: Location) -> int:
    """How many runs the database holds; one that never had columns for the run browser gets them.

    Raises:
        UserError: It cannot be reached or read.
    """
    database = location.connect()
    try:
        count = database.runs.estimated_document_count()
        with contextlib.suppress(OperationFailure):  # of a user who may only read
            seed_columns(database)
        return count
    except PyMongoError as error:
        reason = mask(str(error)).split(" (configured timeouts")[0][:300]
        raise UserError(f"The database {location.masked_url} cannot be read: {reason}") from None
    finally:
        database.client.close()


def serve(
    location: Location,
    stop: threading.Event,
    port: int | None = None,
    check_every: float = 10.0,
    patience: float = 30.0,
) -> None:
    """Show the runs of a database until `stop` is set.

    Raises:
        UserError: The database, Node or Omniboard is missing, or the port is taken.
    """
    if location.url is None:
        raise UserError(location.line)
    count = count_runs(location)
    name = open_database(location.url).name
    with Omniboard(location.url, name, port, check_every, patience) as omniboard:
        omniboard.wait(stop=stop)
        _print(f"{count} {'run' if count == 1 else 'runs'} in the database {name}: {omniboard.url}")
        if count == 0:
            _print(f"To record a first run: make demo  (or: {FIRST_RUN})")
        if hint := ssh_hint(omniboard.port):
            _print(f"From the computer you have logged in from: {hint}")
        _print("Press Ctrl-C to stop.")
        omniboard.watch(stop, _print, location.server.revive if location.server else None)


def _print(line: str) -> None:
    print(for_terminal(line), flush=True)


def main(argv: Sequence[str]) -> int:
    """`dashboard [--port N] [with tracking.KEY=VALUE ...]`.

    Raises:
        UserError: See `serve`; or a setting does not exist.
    """
    words = list(argv)
    cut = words.index("with") if "with" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="dashboard",
        description="Open the run browser on the database that runs go to.",
        usage="%(prog)s [--port N] [with tracking.KEY=VALUE ...]",
    )
    parser.add_argument("--port", type=int, help=f"port on 127.0.0.1 (default: the first free one from {FIRST_PORT})")
    options = parser.parse_args(words[:cut])
    settings = tracking_settings(words[cut + 1 :])
    stop = stop_event()
    with located(settings) as location:
        serve(location, stop, options.port)
    return 0
