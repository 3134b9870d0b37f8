"""Decoders that are killed, given up or cannot start: the others answer rightly, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from experiments.service.decoding import Decoders, DecodingLimits
from experiments.service.problems import ServiceError
from preprocess.tracks import DecodedTrack
from tests.experiments.service import decoding_functions as does
from tests.experiments.service.asking import PATIENCE, ROOT, Noted, Within, decoded, refusal, started


def test_a_file_that_takes_too_long_is_given_up(decoders_within: Within, noted: Noted, eventually: Callable):
    decoders = decoders_within(1, seconds=2)
    process = int(decoded(decoders, noted(1), does.process).frames[0])
    refused = refusal(decoders, noted(1), does.slow)
    assert (refused.status, refused.detail) == (422, "decoding this file took more than 2 s (service.timeout)")
    eventually(lambda: not psutil.pid_exists(process))
    assert decoded(decoders, noted(2), does.number).frames[0] == 2


@pytest.mark.parametrize("kills", [1, 2])
def test_a_file_whose_decoder_is_killed_is_tried_once_more(decoders_within: Within, noted: Noted, kills: int):
    decoders, path = decoders_within(1), noted(7)

    async def killed() -> DecodedTrack:
        task = asyncio.create_task(decoders.decode(path, does.slow))
        for number in range(kills):
            pids = await started(path, number + 1)
            os.kill(pids[-1], signal.SIGKILL)
        path.with_suffix(".go").touch()
        return await task

    if kills == 1:
        assert asyncio.run(killed()).frames[0] == 7
    else:
        with pytest.raises(ServiceError, match="killed from outside, twice") as refused:
            asyncio.run(killed())
        assert refused.value.status == 503
    assert decoded(decoders, noted(8), does.number).frames[0] == 8


def test_a_file_whose_ffmpeg_is_killed_is_tried_once_more(decoders_within: Within, noted: Noted):
    assert decoded(decoders_within(1), noted(5), does.first_without_ffmpeg).frames[0] == 5


def test_decoders_killed_while_they_wait_cost_nothing(
    decoders_within: Within, noted: Noted, processes_started: Callable
):
    decoders = decoders_within(2)
    for victims in ("decoders", "all"):
        assert decoded(decoders, noted(1), does.number).frames[0] == 1
        (server,) = (one for one in processes_started() if one.ppid() == os.getpid())
        for one in [*server.children(), *([server] if victims == "all" else [])]:
            one.kill()
        for number in range(5):
            assert decoded(decoders, noted(number), does.number).frames[0] == number


def test_cancelling_ends_the_work_and_what_it_has_started(decoders_within: Within, noted: Noted, eventually: Callable):
    decoders, working, waiting, after = decoders_within(1), noted(1), noted(2), noted(3)

    async def cancelled() -> DecodedTrack:
        tasks = [
            asyncio.create_task(decoders.decode(path, decode))
            for path, decode in ((working, does.with_a_program), (waiting, does.slow), (after, does.number))
        ]
        await started(working)
        tasks[1].cancel()
        tasks[0].cancel()
        for task in tasks[:2]:
            with pytest.raises(asyncio.CancelledError):
                await task
        return await tasks[2]

    assert asyncio.run(cancelled()).frames[0] == 3
    pids = [int(line) for line in working.with_suffix(".pid").read_text().split()]
    assert len(pids) == 2
    eventually(lambda: not any(map(psutil.pid_exists, pids)))
    assert not waiting.with_suffix(".pid").exists()


def test_nothing_is_left(
    noted: Noted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes_started: Callable, eventually: Callable
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    def kept() -> tuple[list[str], int]:
        return os.listdir(temporary), len(os.listdir("/proc/self/fd"))

    Decoders(1, DecodingLimits(60, 60, 500)).close()
    before = kept()
    decoders = Decoders(2, DecodingLimits(60, 60, 500))

    async def ended_at_work() -> list[object]:
        working = noted(1)
        tasks = [asyncio.create_task(decoders.decode(working, does.with_a_program)) for _ in range(3)]
        await started(working)
        decoders.close()
        decoders.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for number in range(5):
        assert decoded(decoders, noted(number), does.number).frames[0] == number
        refusal(decoders, noted(number), does.crashing)
    eventually(lambda: len(processes_started()) == 3)
    assert {outcome.status for outcome in asyncio.run(ended_at_work())} == {503}
    eventually(lambda: not processes_started())
    assert kept() == before
    assert not list(temporary.iterdir())
    assert refusal(decoders, noted(1), does.number).detail == "the service is being stopped"


SERVICE = """
import asyncio, sys
from pathlib import Path
from experiments.service.decoding import Decoders, DecodingLimits
from tests.experiments.service import decoding_functions as does
decoders = Decoders(2, DecodingLimits(60, 60, 500))
asyncio.run(decoders.decode(Path(sys.argv[1]), does.with_a_program))
"""


@pytest.mark.parametrize("stopped_by", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_service_that_is_killed(noted: Noted, eventually: Callable, stopped_by: int):
    path = noted(1)
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(path)], env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as service:
        try:
            asyncio.run(started(path))
            children = partial(psutil.Process(service.pid).children, recursive=True)
            eventually(lambda: len(children()) == 4)
            processes = children()
            service.send_signal(stopped_by)
            service.wait(PATIENCE)
        finally:
            service.kill()
    assert eventually(lambda: not any(one.is_running() for one in processes))


def test_every_job_is_answered_rightly_while_decoders_are_killed(
    decoders_within: Within, noted: Noted, processes_started: Callable
):
    decoders, rng = decoders_within(3, seconds=20), random.Random(0)
    kinds = [does.number] * 10 + [does.crashing, does.failing, does.hungry, does.leaving]
    jobs = [(number, rng.choice(kinds), noted(number + 600)) for number in range(200)]
    answered: dict[int, object] = {}

    async def client() -> None:
        while jobs:
            number, decode, path = jobs.pop()
            try:
                answered[number] = decode, await decoders.decode(path, decode)
            except ServiceError as error:
                answered[number] = decode, error

    async def killer() -> int:
        killed = 0
        while jobs:
            await asyncio.sleep(0.05)
            with contextlib.suppress(psutil.NoSuchProcess):
                (server,) = (one for one in processes_started() if one.ppid() == os.getpid())
                victims = [server] if killed == 10 else server.children()
                if victims:
                    rng.choice(victims).kill()
                    killed += 1
        return killed

    async def chaos() -> int:
        killing = asyncio.create_task(killer())
        await asyncio.gather(*(client() for _ in range(16)))
        return await killing

    killed, unlucky = asyncio.run(chaos()), 0
    assert sorted(answered) == list(range(200))
    for number, (decode, outcome) in answered.items():
        if isinstance(outcome, ServiceError) and outcome.status == 503:
            unlucky += 1
        elif decode is does.number:
            np.testing.assert_array_equal(outcome.frames, np.full(1000, number + 600, np.float32))
        elif decode is does.failing:
            assert outcome.startswith("failed with OSError: the file")
        else:
            words = {does.crashing: "signal 11", does.hungry: "500 MB of memory", does.leaving: "exit status 3"}
            assert words[decode] in outcome.detail
    assert unlucky <= killed / 2


def test_decoders_that_cannot_be_started_are_said(noted: Noted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    decoders = Decoders(1, DecodingLimits(60, 60, 500))
    for _ in range(2):
        refused = refusal(decoders, noted(1), does.number)
        assert (refused.status, "no process that decodes files starts" in refused.detail) == (503, True)
    monkeypatch.undo()
    assert decoded(decoders, noted(1), does.number).frames[0] == 1
    decoders.close()
