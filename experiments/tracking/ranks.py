"""Which process of a distributed launch this is, decided from the environment before anything starts.

Only global rank zero keeps a record. The others learn the run's directory and seed from it: through the environment
where Lightning launches them from rank zero, else over the process group. They work in the same directory, print
nothing and leave nothing there but their trace when they fail.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datasets.text import printable_lines
from experiments import distributed
from experiments.errors import UserError
from experiments.launcher import LOCAL_RANK, label
from experiments.tracking import lifecycle, liveness
from experiments.tracking.journal import FILE_NAME
from experiments.tracking.run import RunHandle

LOOKS, GRACE = 1.0, 4.0  # seconds between looks for ranks that failed, and until what follows is helped along
RUN_VARIABLE = "OSTINATO_RUN"
SEED_VARIABLE = "OSTINATO_SEED"


def tell_others(run: RunHandle | None) -> None:
    """Send the ranks that a launcher started beside rank zero the run to work in; None lets them exit.

    Each of them waits for one such message.
    """
    fields = ("directory", "seed", "fingerprint", "origin")
    distributed.share({field: getattr(run, field) for field in fields} if run is not None else None)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Print nothing: rank zero prints the same."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def follow(command: Callable[[RunHandle], Any], runs_dir: str, seed: int) -> int:
    """Run `command` on a rank other than zero, in the directory of rank zero's run, and return its exit code.

    Where rank zero started this process, the run's key is in the environment; else rank zero sends it now.
    """
    from sacred.randomness import set_global_seed

    try:
        handle = _joined() if distributed.launch() else _started(runs_dir, seed)
    except BaseException as error:  # rank zero is gone, and reports why
        return lifecycle.exit_code(error)
    if handle is None:
        return lifecycle.FAILURE
    set_global_seed(handle.seed)
    try:
        lifecycle.normalised(lambda: command(handle))
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            _leave_trace(handle.directory, error)
        return lifecycle.exit_code(error)
    return lifecycle.SUCCESS


def _joined() -> RunHandle | None:
    fields = distributed.share(None)
    return RunHandle(**fields, is_global_zero=False) if fields else None


def _started(runs_dir: str, seed: int) -> RunHandle:
    key = os.environ.get(RUN_VARIABLE)
    if key is None:
        raise UserError(f"{LOCAL_RANK} is set, but no process of rank zero started this one; unset it")
    return RunHandle(Path(runs_dir).absolute() / key, seed, is_global_zero=False)


def _leave_trace(directory: Path, error: BaseException) -> None:
    """Keep the trace in the run's directory; where another rank failed before, this is only what came of it.

    Rank zero, which fails with this one, is given the time to write the run's end.
    """
    text = lifecycle.trace(error)
    ended = (directory / FILE_NAME).is_file() and liveness.end_of(directory) is not None
    first = not ended and distributed.report_failure(label(), text)
    if first:
        if not lifecycle.is_plain(error):  # else the others print the same
            print(f"rank {label()}:\n{printable_lines(text)}", end="", file=sys.__stderr__, flush=True)
        _write(directory / f"rank{label()}.log", text)
    if distributed.launch() is None:  # Lightning kills rank zero when this process has ended
        distributed.hang_up()
        distributed.linger()
    elif not first:
        distributed.linger()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


@contextlib.contextmanager
def watch(directory: Path, give_up: Callable[[RankFailure], None]) -> Iterator[None]:
    """See to it that rank zero ends when another rank has failed, wherever it hangs.

    Usually the next exchange with the rank that failed ends it. Where it does not come to one, it gets a signal; where
    it cannot even take that, because it waits inside a library, `give_up` is called in another thread, and it is over.

    Args:
        directory: of the run.
        give_up: writes the end of the run.
    """
    over = threading.Event()

    def work() -> None:
        failed = None
        while failed is None:
            if over.wait(LOOKS):
                return
            failed = failure_behind(RuntimeError(), directory)
        if not over.wait(GRACE):
            os.kill(os.getpid(), signal.SIGTERM)
            if not over.wait(GRACE):
                give_up(failed)
                os._exit(lifecycle.FAILURE)

    threading.Thread(target=work, name="ostinato-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


class RankFailure(RuntimeError):
    """Another rank failed, and this one with it.

    Attributes:
        brief: which one, and its error.
    """

    def __init__(self, traces: str):
        first, *_, last = [line for line in traces.splitlines() if line] or ["a rank:", "no trace"]
        self.brief = f"{first.rstrip(':')} failed, and the run with it: {last}"
        super().__init__(f"{self.brief}\n{traces}")


def failure_behind(error: BaseException, directory: Path) -> RankFailure | None:
    """The failure of another rank that ended this one with `error`; None where this one failed, or was stopped, itself.

    The trace is in the run's directory, or came over the process group from a node that has another disk.
    """
    if lifecycle.is_plain(error) or getattr(error, "signum", None) == signal.SIGINT:
        return None
    found = trace_files(directory)
    failed = distributed.failure()
    if not found and failed is not None and failed[0] != label():
        _write(directory / f"rank{failed[0]}.log", failed[1])
        found = trace_files(directory)
    return (
        RankFailure("".join(f"{path.stem}:\n{path.read_text('utf-8', 'replace')}" for path in found)) if found else None
    )


def trace_files(directory: Path) -> list[Path]:
    """What the ranks other than zero that failed left in a run's directory."""
    return sorted(directory.glob("rank*.log"))
