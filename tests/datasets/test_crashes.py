"""What a broken pool of workers says: the signal, and what to do."""

from __future__ import annotations

import os
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest
from joblib import Parallel, delayed

from datasets.crashes import crashed, explain, signals


def die(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "in_code", "says"),
    [
        (signal.SIGSEGV, True, "a worker crashed in compiled code (SIGSEGV): run again"),
        (signal.SIGKILL, False, "a worker was killed (SIGKILL), most often for want of memory: run again with fewer"),
        (signal.SIGTERM, False, "a worker ended early (SIGTERM): run again"),
    ],
)
def test_the_signal_that_ended_a_worker_is_named(number: signal.Signals, in_code: bool, says: str):
    with pytest.raises(BrokenProcessPool) as caught:
        Parallel(n_jobs=2)(delayed(die)(number) for _ in range(2))
    assert signals(caught.value) == [number.name]
    assert crashed(caught.value) is in_code
    assert explain(caught.value).startswith(says)


def test_a_pool_that_tells_no_signal_is_still_explained():
    assert explain(BrokenProcessPool("gone")).startswith("a worker ended early (no known signal): run again")
