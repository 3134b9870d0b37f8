"""C code that writes to standard error."""

from __future__ import annotations

import os
import threading

import pytest

from preprocess.quiet import quiet_libraries


def test_nothing_is_heard_until_the_last_thread_has_left(capfd: pytest.CaptureFixture[str]):
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with quiet_libraries():
            inside.set()
            leave.wait(240)

    thread = threading.Thread(target=other)
    with quiet_libraries():
        thread.start()
        assert inside.wait(240)
        os.write(2, b"one ")
    os.write(2, b"two ")
    leave.set()
    thread.join(240)
    os.write(2, b"three")
    assert capfd.readouterr().err == "three"


def test_is_undone_after_an_error(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(KeyError), quiet_libraries():
        raise KeyError
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
