"""Everything that knows Sacred, Lightning or MongoDB."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def _end(signum: int, _: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + signum)


def let_interrupts_raise() -> None:
    """From now on a command has something to put in order: Ctrl-C is an exception, as in any program.

    Before, it ends the process where it stands. An exception can get lost in an import: Python only prints those that
    come in its callbacks, and the compiled parts of pydantic abort.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_script() -> bool:
    """Whether one of our scripts is what was started, not a program or notebook that imports us, nor a worker."""
    return Path(getattr(sys.modules["__main__"], "__file__", None) or "").match("ex_*.py")


if _is_script() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
