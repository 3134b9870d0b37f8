"""What headers promise."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from preprocess.lengths import SampleBytes, data
from preprocess.spans import Peek


def of(content: bytes) -> SampleBytes | None:
    return data(Peek(io.BytesIO(content)))


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_every_format(tmp_path: Path, write: Callable[..., Path], format: str):
    samples, rate = soundfile.read(write("a.wav"), dtype="int16")
    soundfile.write(tmp_path / "b", samples, rate, format=format, subtype="PCM_16")
    content = (tmp_path / "b").read_bytes()
    whole = of(content)
    assert whole is not None
    assert (whole.promised, whole.present) == (32_000, 32_000)
    order = "<i2" if format in ("WAV", "WAVEX", "RF64", "W64") else ">i2"
    assert content[whole.start :] == samples.astype(order).tobytes()
    short = of(content[:-1])
    assert short is not None
    assert short.cut
    assert not whole.cut


def wav(size: int, content: bytes, before: bytes = b"") -> bytes:
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    return b"RIFF" + struct.pack("<I", 0) + b"WAVE" + form + before + b"data" + struct.pack("<I", size) + content


def test_a_length_that_was_never_written():
    found = of(wav(0, bytes(range(1, 101))))
    assert found is not None
    assert found.forgotten
    assert found.present == 100


def test_no_samples_are_none_even_with_chunks_behind():
    for content in (b"", b"LIST" + struct.pack("<I", 4) + b"INFO"):
        found = of(wav(0, content))
        assert found is not None
        assert not found.forgotten


@pytest.mark.parametrize("size", [2**32 - 1, 2**31 - 1, 2**31, 2**31 + 36, 2**32 - 37])
def test_lengths_of_pipes_promise_nothing(size: int):
    found = of(wav(size, bytes(100)))
    assert found is not None
    assert found.promised is None
    assert not found.cut


def test_chunks_before_the_samples_are_passed_over():
    found = of(wav(100, bytes(100), before=b"LIST" + struct.pack("<I", 3) + b"odd\0"))
    assert found == SampleBytes(56, 100, 100)


def test_a_chunk_larger_than_any_file_ends_the_search():
    assert of(b"caff\0\1\0\0" + struct.pack(">4sq", b"free", 2**63 - 1) + bytes(10)) is None


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"fLaC" + bytes(100), b"caff\0\1\0\0", b".snd"])
def test_nothing_to_find(content: bytes):
    assert of(content) is None
