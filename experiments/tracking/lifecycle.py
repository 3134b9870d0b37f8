"""How a run ends: signals become interrupts, interrupts become a status and an exit code.

| event                                   | status      | exit code |
|-----------------------------------------|-------------|-----------|
| return, `sys.exit(0)`                   | COMPLETED   | 0         |
| exception                               | FAILED      | 1         |
| `sys.exit(n)`                           | FAILED      | n         |
| Ctrl-C (SIGINT)                         | INTERRUPTED | 130       |
| SIGTERM, SIGHUP, SIGUSR1 outside SLURM  | INTERRUPTED | 128 + n   |

The same holds inside `Trainer.fit`, which turns interrupts into a SystemExit of its own. A second Ctrl-C stops
the process at once: what was recorded is on disk, and the run is closed as interrupted at the next start.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from datasets import crashes
from datasets.text import printable_lines
from experiments import let_interrupts_raise
from experiments.tracking.masking import for_terminal, mask

SUCCESS, FAILURE = 0, 1
OUR_PACKAGES = ("models", "datasets", "preprocess", "experiments")
_HIDDEN_FRAMES = ("sacred", "wrapt")
_SOON = 0.02  # s until a signal that came where no exception leaves is sent once more


class Interrupted(KeyboardInterrupt):
    """A signal asks the run to end. Derived from KeyboardInterrupt so that no `except Exception` swallows it.

    Attributes:
        signum: the signal.
        STATUS: status that Sacred gives to the run.
    """

    STATUS = "INTERRUPTED"

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def watched_signals() -> tuple[int, ...]:
    """Signals that end a run in order. Under SLURM, SIGUSR1 belongs to Lightning, which saves and requeues."""
    names = ["SIGINT", "SIGTERM", "SIGHUP"] + (["SIGUSR1"] if "SLURM_JOB_ID" not in os.environ else [])
    return tuple(getattr(signal, name) for name in names)


_ending = False


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """A command has ended and its record is written: meanwhile signals but a second Ctrl-C change nothing."""
    global _ending
    _ending = True
    try:
        yield
    finally:
        _ending = False


_writing = 0
_waiting: int | None = None


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """While a record is written, signals wait until it is complete; only a second Ctrl-C does not."""
    global _writing, _waiting
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _writing += 1
    try:
        yield
    finally:
        _writing -= 1
        if not _writing and _waiting is not None:
            signum, _waiting = _waiting, None
            if not _ending:
                raise Interrupted(signum)


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Turn the watched signals into `Interrupted` in the main thread for as long as the context lasts.

    None is lost: one that comes where Python only prints exceptions, in a destructor or while it keeps account of its
    imports, is sent once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    let_interrupts_raise()
    owner, interrupts, repeated, print_ignored = os.getpid(), 0, False, sys.unraisablehook

    def repeat(signum: int) -> None:
        nonlocal repeated
        repeated = True
        _thread.start_new_thread(_send_soon, (signum,))  # takes no lock, as `threading` would: this may be anywhere

    def ignored(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Interrupted):
            repeat(unraisable.exc_value.signum)
        else:
            print_ignored(unraisable)

    def handle(signum: int, frame: FrameType | None) -> None:
        """End the command; at the second Ctrl-C, the process."""
        global _waiting
        nonlocal interrupts, repeated
        if os.getpid() != owner:  # a forked worker that has not set handlers of its own
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        again, repeated = repeated, False
        if signum == signal.SIGINT and not again:
            interrupts += 1
            if interrupts > 1:
                os.write(2, b"\nstopped at once; what was recorded so far is on disk\n")
                os._exit(128 + signum)
        if _writing:
            _waiting = signum
        elif frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
            repeat(signum)
        elif not _ending:
            raise Interrupted(signum)

    before = {}
    for signum in watched_signals():
        if signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN:
            continue  # started by nohup: it stays ignored
        before[signum] = signal.signal(signum, handle)
    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = print_ignored
        for signum, handler in before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)


def _send_soon(signum: int) -> None:
    time.sleep(_SOON)
    os.kill(os.getpid(), signum)


def normalised(command: Callable[[], Any]) -> Any:
    """Call `command`; an orderly exit becomes a return, every disguise of an interrupt becomes `Interrupted`."""
    try:
        return command()
    except Interrupted:
        raise
    except KeyboardInterrupt as error:
        raise Interrupted(signal.SIGINT) from error
    except SystemExit as error:
        if type(error).__name__ == "SIGTERMException":
            raise Interrupted(signal.SIGTERM) from error
        if (origin := _interrupt_behind(error)) is not None:
            raise Interrupted(getattr(origin, "signum", signal.SIGINT)) from origin
        if error.code in (None, 0):
            return None
        raise
    except Exception as error:  # of a library that cannot clean up behind an interrupt
        if (origin := _interrupt_behind(error)) is not None:
            raise Interrupted(getattr(origin, "signum", signal.SIGINT)) from error
        raise


def _interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt in whose handling `error` arose."""
    seen: set[int] = set()
    context = error.__context__
    while context is not None and id(context) not in seen:
        if isinstance(context, KeyboardInterrupt):
            return context
        seen.add(id(context))
        context = context.__context__
    return None


def exit_code(error: BaseException | None) -> int:
    """Exit code of the process whose command ended with `error` (None: it returned)."""
    if error is None:
        return SUCCESS
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "signum", signal.SIGINT)
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return FAILURE


def is_plain(error: BaseException) -> bool:
    """Whether the message of `error` is all its reader needs: a ValueError of a class that one of our rooms defines."""
    return isinstance(error, ValueError) and any(
        kind.__module__.partition(".")[0] in OUR_PACKAGES for kind in type(error).__mro__
    )


def trace(error: BaseException) -> str:
    """The traceback of `error`, its causes included, without secrets and the frames of what called the command."""
    return mask("".join(traceback.format_exception(type(error), error, _own_frames(error.__traceback__))))


def _own_frames(frames: TracebackType | None) -> TracebackType | None:
    """Skip the leading frames that are not the command's."""
    first = frames
    while first is not None:
        path = Path(first.tb_frame.f_code.co_filename)
        ours = path.parent == Path(__file__).parent or any(part in _HIDDEN_FRAMES for part in path.parts[-4:-1])
        if not ours:
            return first
        first = first.tb_next
    return frames


def report(error: BaseException, note: Callable[[str], None] | None = None, full: bool = False) -> None:
    """Print on standard error how the command ended; the trace of a plain error goes into the log alone.

    Args:
        note: writes a text into the run log and nowhere else.
        full: show the trace of a plain error too.
    """
    note = note or (lambda text: None)
    text: str | None = None
    if isinstance(error, KeyboardInterrupt):
        text = f"interrupted by {signal.Signals(getattr(error, 'signum', signal.SIGINT)).name}"
    elif isinstance(error, SystemExit):
        text = "" if isinstance(error.code, int) else str(error.code)
    elif brief := getattr(error, "brief", ""):  # the failed rank has shown its trace
        text = f"error: {brief}"
    elif is_plain(error) and not full:
        text = f"error: {error}"
    elif isinstance(error, BrokenProcessPool) and not full:
        text = f"error: {crashes.explain(error)}"
    if text is None:
        print(printable_lines(trace(error)), end="", file=sys.stderr)
    else:
        note(trace(error))
        if text:
            print(for_terminal(text), file=sys.stderr)
    sys.stderr.flush()
