"""Whether a run lives is known by its lock and its process, whatever the host is called and the clock shows."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from experiments.tracking.liveness import run_state, this_process

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no number of a boot")


@linux
@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({}, "running"),
        ({"pid_started": 5.0}, "running"),  # the clock was set
        ({"ticks": 5}, "stale"),  # the number belongs to another process now
        ({"boot": "an earlier one"}, "elsewhere"),
    ],
)
def test_a_run_of_a_host_that_was_renamed(journal, run_document, monkeypatch, change, how):
    journal.append("start", document=run_document(ostinato=this_process() | change), sources=[])
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert run_state(journal.directory) == how


@linux
def test_a_run_from_before_the_machine_was_started_again_is_stale(journal, run_document):
    owner = this_process() | {"boot": "an earlier one", "pid": os.getpid()}
    journal.append("start", document=run_document(ostinato=owner), sources=[])
    assert run_state(journal.directory) == "stale"


def test_what_is_recorded_of_a_process_tells_it_from_others(journal, run_document):
    assert (this_process()["host"], this_process()["pid"]) == (socket.gethostname(), os.getpid())
    journal.append("start", document=run_document(ostinato=this_process() | {"pid": 2**22 + 1}), sources=[])
    assert run_state(journal.directory) == "stale"
