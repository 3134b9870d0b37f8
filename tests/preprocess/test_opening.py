"""Files of audio as people have them: joined, chained, cut short, with wrong headers, on failing disks."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.decode import whole
from preprocess.mpeg import walk
from preprocess.quiet import quiet_libraries
from preprocess.sources import AudioError

Write = Callable[..., Path]
FORMATS = {
    "a.mp3": {},
    "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.flac": {},
    "a.wav": {},
    "float.wav": {"subtype": "FLOAT"},
    "adpcm.wav": {"subtype": "IMA_ADPCM"},
    "a.aiff": {},
    "a.au": {"format": "AU", "subtype": "PCM_16"},
    "a.caf": {"format": "CAF", "subtype": "PCM_16"},
    "alac.caf": {"format": "CAF", "subtype": "ALAC_16"},
    "a.w64": {"format": "W64", "subtype": "PCM_16"},
    "a.rf64": {"format": "RF64", "subtype": "PCM_16"},
}
CUTS = 40  # at random, beside those near the ends


def decoded(path: Path, rate: int = 16000) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    with quiet_libraries():
        return whole(path, rate, notes), notes


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def mp3(write: Write) -> Path:
    """5 s of noise, mono 22.05 kHz: 576 samples a frame."""
    return write("whole.mp3", seconds=5, rate=22050)


def bare(path: Path) -> bytes:
    """The frames of an mp3 without the announcement of their number."""
    content = path.read_bytes()
    (stretch,) = walk(io.BytesIO(content))
    ((start, end),) = stretch.spans
    return content[start:end]


def is_silent_about(path: Path, seconds: float) -> bool:
    """Whether audio is missing of what had this length, and nobody says so."""
    try:
        samples, notes = decoded(path)
    except AudioError:
        return False
    return not notes and len(samples) / 16000 < seconds - 1e-3


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("name", FORMATS)
def test_any_cut_is_noticed_and_the_whole_is_not(tmp_path: Path, name: str):
    t = np.arange(96_000) / 48_000
    soundfile.write(tmp_path / name, 0.3 * np.sin(2000 * t), 48_000, **FORMATS[name])
    content, cut = (tmp_path / name).read_bytes(), tmp_path / f"cut{Path(name).suffix}"
    samples, notes = decoded(tmp_path / name)
    assert notes == []
    draw = random.Random(0)
    places = [
        1,
        50,
        *(draw.randrange(len(content)) for _ in range(CUTS)),
        *(len(content) - n for n in (100, 4, 3, 2, 1)),
    ]
    silent = [place for place in places if is_silent_about(put(cut, content[:place]), len(samples) / 16000)]
    assert silent == []


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg to write them")
@pytest.mark.parametrize("name", ["a.m4a", "a.mka", "a.wma", "a.wv", "a.tta", "a.aac", "a.ac3", "a.mp2"])
def test_any_cut_of_what_ffmpeg_reads_is_noticed(tmp_path: Path, write: Write, name: str):
    line = ["ffmpeg", "-v", "error", "-i", write("a.wav", seconds=3, rate=44100), tmp_path / name]
    subprocess.run(line, check=True, stdin=subprocess.DEVNULL)
    content, cut = (tmp_path / name).read_bytes(), tmp_path / f"cut{Path(name).suffix}"
    samples, notes = decoded(tmp_path / name)
    assert notes == []
    places = [len(content) * 6 // 10 + 1, len(content) - 1]
    assert not [place for place in places if is_silent_about(put(cut, content[:place]), len(samples) / 16000)]


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg would read them")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.mp3", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{}\n#EXT-X-ENDLIST\n"),
        ("pieces.wma", "ffconcat version 1.0\nfile other.mp3\n"),
    ],
)
def test_a_list_of_other_files_is_no_audio(tmp_path: Path, name: str, text: str):
    soundfile.write(tmp_path / "other.mp3", np.sin(np.arange(48_000) / 10), 16_000)
    put(tmp_path / name, text.format(tmp_path / "other.mp3").encode())
    with pytest.raises(AudioError, match="which holds no audio itself or names other files"):
        decoded(tmp_path / name)


def test_notes_say_how_much_there_is(write: Write, tmp_path: Path):
    content = write("a.wav", seconds=20, rate=16000, subtype="PCM_16").read_bytes()
    put(tmp_path / "cut.wav", content[: 44 + 12 * 32_000])
    assert decoded(tmp_path / "cut.wav")[1] == ["cut short: 12.0 s of the 20.0 s that the header promises"]
    put(tmp_path / "cut.wav", content[:-2])
    assert decoded(tmp_path / "cut.wav")[1] == ["cut short: 20.000 s of the 20.000 s that the header promises"]
    content = write("a.ogg", seconds=20, rate=16000).read_bytes()
    put(tmp_path / "cut.ogg", content[: len(content) // 2])
    (note,) = decoded(tmp_path / "cut.ogg")[1]
    assert note.startswith("cut short: its last page is missing, ")


def test_an_mp3_without_announcement_is_read_to_its_end(tmp_path: Path):
    loud, quiet = (0.3 * np.random.default_rng(0).standard_normal(110_250), np.zeros(441_000))
    for name, parts in (("loud_first", [loud, quiet]), ("quiet_first", [quiet, loud])):
        path = tmp_path / f"{name}.mp3"
        soundfile.write(path, np.concatenate(parts), 22050, bitrate_mode="VARIABLE", compression_level=0.3)
        samples, notes = decoded(put(path, bare(path)))
        assert abs(len(samples) / 16000 - 25) < 0.1
        assert notes == []


def test_a_picture_before_an_mp3_promises_nothing(mp3: Path, tmp_path: Path):
    tag = b"ID3\x03\0\0\0\x18\x6a\x00" + bytes(0x18 << 14 | 0x6A << 7)
    samples, notes = decoded(put(tmp_path / "a.mp3", tag + bare(mp3)))
    assert abs(len(samples) / 16000 - 5) < 0.1
    assert notes == []


@pytest.mark.parametrize("count", [0, 10, 1_000_000])
def test_an_mp3_with_a_wrong_announcement(mp3: Path, tmp_path: Path, count: int):
    content = mp3.read_bytes()
    at = max(content.find(b"Xing"), content.find(b"Info")) + 8
    samples, notes = decoded(put(tmp_path / "wrong.mp3", content[:at] + struct.pack(">I", count) + content[at + 4 :]))
    assert abs(len(samples) / 16000 - 5) < 0.06
    assert notes == []


def test_joined_mp3s_are_read_to_the_end(mp3: Path, write: Write, tmp_path: Path):
    other = write("other.mp3", seconds=2, rate=44100, channels=2).read_bytes()
    samples, notes = decoded(put(tmp_path / "joined.mp3", mp3.read_bytes() + mp3.read_bytes() + other))
    assert abs(len(samples) / 16000 - 12) < 0.2
    assert notes == []


def test_an_mp3_behind_zeros_is_found(mp3: Path, tmp_path: Path):
    samples, notes = decoded(put(tmp_path / "late.mp3", bytes(3000) + mp3.read_bytes()))
    assert (len(samples), notes) == (80_000, [])


def test_a_hole_in_an_mp3_is_noted(mp3: Path, tmp_path: Path):
    content = mp3.read_bytes()
    middle = len(content) // 2
    holed = put(tmp_path / "hole.mp3", content[:middle] + bytes(9_000) + content[middle + 9_000 :])
    (note,) = decoded(holed)[1]
    assert note.startswith("damaged: ")


@pytest.mark.parametrize("kind", [{}, {"format": "OGG", "subtype": "OPUS"}])
def test_every_stream_of_a_chain_is_read(tmp_path: Path, kind: dict[str, str]):
    parts = []
    for hertz, channels, rate in ((500, 1, 48_000), (1000, 2, 24_000), (2000, 1, 48_000)):
        tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(2 * rate) / rate)
        soundfile.write(tmp_path / "part.ogg", np.tile(tone[:, None], channels), rate, **kind)
        parts.append((tmp_path / "part.ogg").read_bytes())
    samples, notes = decoded(put(tmp_path / "radio.ogg", b"".join(parts)))
    assert abs(len(samples) - 96_000) < 9
    assert notes == []
    spectra = [np.abs(np.fft.rfft(samples[start : start + 16_000])) for start in (8_000, 40_000, 72_000)]
    assert [spectrum.argmax() for spectrum in spectra] == [500, 1000, 2000]
    (note,) = decoded(put(tmp_path / "radio.ogg", parts[0][:-10] + parts[1]))[1]
    assert "of stream 1 of 2 the last page is missing" in note


def test_a_stream_of_a_chain_that_cannot_be_decoded_costs_only_itself(write: Write, tmp_path: Path):
    whole_stream = write("a.ogg", seconds=2).read_bytes()
    other = whole_stream.replace(b"\x05vorbis", b"\x05borvis")
    samples, notes = decoded(put(tmp_path / "chain.ogg", whole_stream + other + whole_stream))
    assert abs(len(samples) - 64_000) < 9
    assert notes == ["damaged: stream 2 of 3 cannot be decoded, 4.0 s are left"]
    samples, notes = decoded(put(tmp_path / "first.ogg", other + whole_stream))
    assert abs(len(samples) - 32_000) < 9
    assert notes == ["damaged: stream 1 of 2 cannot be decoded, 2.0 s are left"]


def test_a_recorder_that_never_wrote_the_length(write: Write, tmp_path: Path):
    path = write("a.wav", seconds=5, rate=22050, channels=2, subtype="PCM_24")
    content = path.read_bytes()
    at = content.index(b"data") + 4
    open_end = put(tmp_path / "open.wav", content[:4] + bytes(4) + content[8:at] + bytes(4) + content[at + 4 :])
    samples, notes = decoded(open_end)
    np.testing.assert_array_equal(samples, decoded(path)[0])
    assert notes == []


def test_a_forgotten_length_that_cannot_be_guessed_is_named(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.ones(8000) / 2, 8000, subtype="MS_ADPCM")
    content = (tmp_path / "a.wav").read_bytes()
    at = content.index(b"data") + 4
    put(tmp_path / "a.wav", content[:at] + bytes(4) + content[at + 4 :])
    with pytest.raises(AudioError, match=r"length missing: the header says 0 bytes, but 4,[0-9]+ follow"):
        decoded(tmp_path / "a.wav")


def test_channels_that_cancel_each_other(tmp_path: Path):
    left = 0.3 * np.random.default_rng(0).standard_normal(32_000)
    for name, right in (("a.wav", -left), ("a.mp3", -left), ("b.wav", -0.9 * left)):
        soundfile.write(tmp_path / name, np.stack([left, right], 1), 16000)
        samples, notes = decoded(tmp_path / name)
        assert notes == ["the channels cancel each other: the first one is taken alone"]
        assert 0.25 < samples.std() < 0.35


@pytest.mark.parametrize("right", [0.0, 0.5, -0.5])
def test_channels_that_differ_do_not_cancel(tmp_path: Path, right: float):
    left = 0.3 * np.random.default_rng(0).standard_normal(32_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right * left], 1), 16000, subtype="FLOAT")
    samples, notes = decoded(tmp_path / "a.wav")
    assert notes == []
    np.testing.assert_allclose(samples, (1 + right) / 2 * left, rtol=0, atol=1e-6)


def test_a_fault_of_the_disk_is_no_end(write: Write, monkeypatch: pytest.MonkeyPatch):
    class Failing(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() + size > 100_000:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    paths = [write(f"a{suffix}", seconds=20, rate=44100) for suffix in (".mp3", ".ogg", ".wav")]
    cut = paths[2]
    cut.write_bytes(cut.read_bytes()[:-1000])  # what a failing disk looks like to libsndfile
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: Failing(path))
    for path in paths:
        with pytest.raises(AudioError, match="cannot be read: Input/output error"):
            decoded(path)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="a file that cannot be read at its beginning")
def test_a_file_that_the_system_does_not_give(tmp_path: Path):
    (tmp_path / "a.wav").symlink_to("/proc/self/mem")
    with pytest.raises(AudioError, match=r"a\.wav: cannot be read: Input/output error"):
        decoded(tmp_path / "a.wav")
