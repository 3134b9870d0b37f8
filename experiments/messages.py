"""One line to the user: on standard error, once whatever the number of processes, without control characters."""

from __future__ import annotations

import sys

from experiments.launcher import is_global_zero
from experiments.tracking.masking import for_terminal


def say(line: str) -> None:
    """Tell the user one thing, on standard error, so that a command's own output stays clean."""
    if is_global_zero():
        print(for_terminal(line), file=sys.stderr, flush=True)
