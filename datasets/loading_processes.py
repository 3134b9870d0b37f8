"""Processes that load data for a training: signals are left to their parent, and none delays its end."""

from __future__ import annotations

import atexit
import multiprocessing
import signal

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))


def leave_signals_to_parent(worker: int = 0) -> None:
    """Have a process that loads data go on: Ctrl-C reaches it too, and without it the training cannot end in order."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _end_loading_processes() -> None:
    """Python asks such a process to end, by a signal, and waits until it has."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch would call it a failure
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
