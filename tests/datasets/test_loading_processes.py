"""Processes that load data, and signals."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from datasets import loading_processes


@pytest.fixture
def loading():
    """A process that is deaf to signals, and ready."""
    here, there = multiprocessing.Pipe()

    def load() -> None:
        loading_processes.leave_signals_to_parent()
        for said in iter(there.recv, "end"):
            there.send(said)

    before = signal.getsignal(signal.SIGCHLD)
    process = multiprocessing.get_context("fork").Process(target=load, daemon=True)
    process.start()
    here.send("ready")
    assert here.recv() == "ready"
    yield process, here
    process.kill()
    process.join()
    signal.signal(signal.SIGCHLD, before)


def test_what_loads_data_goes_on_at_signals_to_everyone(loading):
    process, pipe = loading
    for number in loading_processes.SIGNALS:
        os.kill(process.pid, number)
    pipe.send("on")
    assert pipe.recv() == "on"


def test_what_loads_data_does_not_keep_python_from_ending(loading):
    process, _ = loading
    process.terminate()  # as Python does, which then waits for it
    loading_processes._end_loading_processes()
    process.join(timeout=240)
    assert process.exitcode == -signal.SIGKILL
