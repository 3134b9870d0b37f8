"""Decoders in C that speak to the terminal of their own accord."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_terminal = -1


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Send what C code writes to standard error nowhere, for the whole process, until the last thread has left.

    libsndfile's mp3 decoder prints a line there for every oddity of a file, in the middle of the progress bar.
    """
    global _inside, _terminal
    with _lock:
        if not _inside:
            _terminal = os.dup(2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                os.dup2(_terminal, 2)
                os.close(_terminal)
