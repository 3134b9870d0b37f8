"""Files to rows in other processes: the same as in this one, within limits."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from experiments.errors import UserError
from experiments.service import packets
from experiments.service.decoder import anonymous
from experiments.service.decoding import Decoders, DecodingLimits
from experiments.service.fork_server import ForkServer
from experiments.service.problems import ServiceError
from models import frontends
from preprocess.attempts import Decode, attempt
from preprocess.audio import exact_audio_track
from preprocess.files import Candidate
from preprocess.recipes import by_recipe
from preprocess.tracks import DecodedTrack
from tests.experiments.service import decoding_functions as does
from tests.experiments.service.asking import DATA, Noted, Within, decoded, refusal


def damaged_files(folder: Path) -> list[Path]:
    rng, found = np.random.default_rng(0), []
    for name, samples in {
        "silent.wav": np.zeros(44_100),
        "short.flac": rng.uniform(-0.5, 0.5, 100),
        "opposite.wav": np.outer(rng.uniform(-0.5, 0.5, 88_200), [1, -1]),
        "loud.wav": rng.uniform(-3e4, 3e4, 44_100),
    }.items():
        soundfile.write(folder / name, samples, 44_100, "FLOAT" if name.startswith(("loud", "opp")) else None)
        found.append(folder / name)
    whole = (DATA / "kick_120bpm.mp3").read_bytes()
    for name, content in {
        "cut.mp3": whole[: len(whole) // 2],
        "cut.ogg": (DATA / "speech.ogg").read_bytes()[:30_000],
        "empty.mp3": b"",
        "none.wav": b"no audio at all",
        "zeros": bytes(5000),
    }.items():
        (folder / name).write_bytes(content)
        found.append(folder / name)
    return [*found, folder / "absent.mp3"]


def test_rows_and_reasons_are_those_of_this_process(tmp_path: Path, processes_started: Callable):
    files = [*sorted(DATA.glob("*.mp3")), *sorted(DATA.glob("*.ogg")), *damaged_files(tmp_path)]
    decodes = [partial(exact_audio_track, 16_000), partial(by_recipe, frontends.build("musicnn"))]
    decoders = Decoders(2, DecodingLimits(600, 60, 500), decodes)

    async def all_of(decode: Decode) -> list[DecodedTrack | str]:
        return await asyncio.gather(*(decoders.decode(path, decode) for path in files))

    try:
        for decode in decodes:
            outcomes = asyncio.run(all_of(decode))
            for path, outcome in zip(files, outcomes, strict=True):
                _, expected = attempt(Candidate(path.name, path), decode, 0)
                if isinstance(expected, str):
                    assert outcome == anonymous(expected, path)
                else:
                    assert (outcome.seconds, outcome.notes) == (expected[0].seconds, expected[0].notes)
                    assert outcome.frames.dtype == expected[0].frames.dtype
                    np.testing.assert_array_equal(outcome.frames, expected[0].frames)
                    assert outcome.frames.flags.writeable
        (server,) = (one for one in processes_started() if one.ppid() == os.getpid())
        assert server.num_threads() == 1  # it forks
    finally:
        decoders.close()


@pytest.mark.parametrize(
    ("decode", "text", "said"),
    [
        (does.crashing, "", "ended the decoder (signal 11, SIGSEGV)"),
        (does.leaving, "", "ended the decoder (exit status 3)"),
        (does.out_of_time, "", "took more than 60 s of processor time"),
        (does.hungry, "600", "took more than 500 MB of memory (service.decoder_mb)"),
    ],
)
def test_what_a_file_does_to_its_decoder_is_said_and_harms_no_other(
    decoders_within: Within, noted: Noted, decode: Decode, text: str, said: str
):
    decoders, bad, good = decoders_within(), noted(text), [noted(n) for n in range(12)]

    async def side_by_side() -> list[DecodedTrack | ServiceError]:
        calls = [decoders.decode(path, does.number) for path in good]
        calls[3:3] = [decoders.decode(bad, decode)]
        calls[8:8] = [decoders.decode(bad, decode)]
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(side_by_side())
    for outcome in (outcomes.pop(8), outcomes.pop(3)):
        assert isinstance(outcome, ServiceError)
        assert (outcome.status, said in outcome.detail) == (422, True)
    assert [outcome.frames[-1] for outcome in outcomes] == list(range(12))


def test_memory_is_counted_from_where_the_file_begins(decoders_within: Within, noted: Noted):
    decoders = decoders_within(1)
    for _ in range(4):
        assert decoded(decoders, noted(400), does.hungry).frames[0] == 1
        assert "500 MB" in refusal(decoders, noted(520), does.hungry).detail


def test_an_end_of_the_memory_is_known_in_torch_too(noted: Noted):
    decoders = Decoders(1, DecodingLimits(60, 60, 500), [does.hungry_tensor])
    try:
        assert decoded(decoders, noted(400), does.hungry_tensor).frames[0] == 1
        assert "more than 500 MB of memory" in refusal(decoders, noted(600), does.hungry_tensor).detail
    finally:
        decoders.close()


def test_other_limits_hold_for_the_decoder_and_what_it_starts(decoders_within: Within, noted: Noted):
    decoders = decoders_within(1)
    seconds, core, written = decoded(decoders, noted(""), does.limits).frames
    assert 60 < seconds < 90
    assert (core, written) == (0, 500e6)
    assert [decoded(decoders, noted(mb), does.hungry_program).frames[0] for mb in (100, 600)] == [0, 1]
    assert decoded(decoders, noted(400), does.writing).frames[0] == 0
    assert "File too large" in decoded(decoders, noted(600), does.writing)


@pytest.mark.parametrize(
    "answer",
    [
        "no JSON",
        "[]",
        "{}",
        '{"reason": "memory that can change"}',
        '{"type": "O", "shape": [1], "seconds": 1, "notes": []}',
        '{"type": "<f4", "shape": [1], "seconds": NaN, "notes": []}',
    ],
)
def test_a_decoder_that_was_taken_over_cannot_harm_the_service(decoders_within: Within, noted: Noted, answer: str):
    decoders = decoders_within(1)
    refused = refusal(decoders, noted(answer), does.answering)
    assert refused.status == 422
    assert "nonsense" in refused.detail
    assert decoded(decoders, noted(1), does.number).frames[0] == 1


def test_more_audio_than_is_taken_is_refused(decoders_within: Within, tmp_path: Path):
    soundfile.write(tmp_path / "long.flac", np.zeros(8000 * 61, np.int16), 8000)
    outcome = decoded(decoders_within(1), tmp_path / "long.flac", partial(exact_audio_track, 16_000))
    assert outcome == "too long: it promises more than 60 s of audio (service.max_seconds)"


@pytest.mark.parametrize("decode", [does.failing, does.refusing])
def test_where_the_service_keeps_a_file_is_not_told(decoders_within: Within, noted: Noted, decode: Decode):
    path = noted("")
    outcome = decoded(decoders_within(1), path, decode)
    assert "the file" in outcome
    assert path.name not in outcome
    assert str(path.parent) not in outcome


def test_requests_are_served_in_the_order_in_which_they_came(decoders_within: Within, noted: Noted):
    decoders, done = decoders_within(1), []

    async def one(number: int) -> None:
        await decoders.decode(noted(number), does.number)
        done.append(number)

    async def all_at_once() -> None:
        await asyncio.gather(*map(one, range(20)))

    asyncio.run(all_at_once())
    assert done == list(range(20))


def test_long_rows_come_whole_and_leave_no_memory_behind(decoders_within: Within, noted: Noted):
    decoders = decoders_within(1, megabytes=1000)
    before = psutil.Process().memory_info().rss
    rows = decoded(decoders, noted(200), does.long).frames
    assert rows[-1] == np.float32(50_000_000 - 1)
    assert len(rows) == 50_000_000
    first = decoded(decoders, noted(0), does.process).frames[0]
    del rows
    decoded(decoders, noted(200), does.long)
    assert decoded(decoders, noted(0), does.process).frames[0] == first
    assert psutil.Process().memory_info().rss - before < 20e6
    kept = psutil.Process(int(first)).memory_info().rss
    assert kept < psutil.Process(int(first)).parent().memory_info().rss + 64e6


def test_a_decoder_serves_many_files_in_one_thread(decoders_within: Within, noted: Noted):
    decoders = decoders_within(1)
    kept = {tuple(decoded(decoders, noted(n), does.process).frames) for n in range(30)}
    assert len(kept) == 1
    assert kept.pop()[2] == 1


def test_modules_in_the_folder_where_the_service_is_started_are_not_imported(
    noted: Noted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in ("json", "numpy", "soundfile"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    decoders = Decoders(1, DecodingLimits(60, 60, 500))
    try:
        assert decoded(decoders, noted(1), does.number).frames[0] == 1
    finally:
        decoders.close()


def test_where_no_process_can_be_started_the_service_is_told(monkeypatch: pytest.MonkeyPatch, capsys):
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    control, theirs = socket.socketpair()
    decoder, end = packets.pair()
    monkeypatch.setattr(os, "fork", fork)
    with control, theirs, decoder:
        with end:
            socket.send_fds(control, [b"+"], [end.fileno()])
        assert ForkServer(theirs, DecodingLimits(60, 60, 500))._fork()
        with pytest.raises(packets.Ended):
            packets.receive(decoder)
    assert "a decoder cannot be started: Resource temporarily unavailable" in capsys.readouterr().err


def test_decoders_need_linux(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="only Linux"):
        Decoders(1, DecodingLimits(60, 60, 500))
