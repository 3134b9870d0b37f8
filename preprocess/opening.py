"""An audio file opened for reading: by libsndfile (wav, flac, ogg, opus, mp3, aiff, ...), or else by ffmpeg.

libsndfile reads one stream, stops where a header or its own estimate says, and does not tell a file that was cut short
from a short one. So what lies in a file is looked up where that is cheap, and libsndfile is handed piece by piece what
it would not find.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from preprocess import lengths, mpeg, ogg
from preprocess.blocks import break_off
from preprocess.ffmpeg import open_ffmpeg
from preprocess.sources import BLOCK, MISSING, AudioError, AudioSource, UnreadableAudio
from preprocess.spans import READ_AHEAD, Peek, Spans

HEADERS = 4096  # bytes read at a time where only headers are of interest
MPEG_SUFFIXES = {".mp3", ".mp2", ".mpga"}
UNHEARD = 48_000  # Hz, of nothing
UNKNOWN = 2**48  # frames: more is libsndfile's way to say that it does not know
MPEG_SLACK = 4  # frames: the encoder's delay, and one at either end that needs its neighbours
OGG_SLACK = 8192  # samples: the longest block of Vorbis, the last of which may be left out; Opus has shorter ones


def open_sources(path: Path) -> Iterator[AudioSource]:
    """Open an audio file.

    Yields:
        What follows one another in it, mostly one; its samples are there until the next is asked for.

    Raises:
        AudioError: Missing, not a regular file, empty, unreadable, or recognised neither by libsndfile nor by ffmpeg.
    """
    with _reading(path):
        if not path.is_file():
            raise AudioError(path, "not a regular file" if path.exists() else MISSING)
        with path.open("rb", buffering=0) as raw:
            if not raw.read(1):
                raise AudioError(path, "empty file: 0 bytes")
            yield from _recognised(raw, path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableAudio.of(path, error) from error


def _recognised(raw: BinaryIO, path: Path) -> Iterator[AudioSource]:
    try:
        file = _ForwardFile(os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless format, known by its suffix
        return _by_others(raw, path)
    if file.format == "MP3":
        return _mpeg(file, raw, path)
    return (_ogg if _is_ogg(raw) else _counted)(file, raw, path)


def _is_ogg(raw: BinaryIO) -> bool:
    raw.seek(0)
    return raw.read(4) == b"OggS"


class _ForwardFile(soundfile.SoundFile):
    """Read from front to back: a file that can seek is sent by soundfile to where it already is after every block."""

    def seekable(self) -> bool:
        return False


def _by_others(raw: BinaryIO, path: Path) -> Iterator[AudioSource]:
    """An mp3 behind something else, a chain of Ogg whose first stream is damaged, or what ffmpeg reads."""
    if path.suffix.lower() in MPEG_SUFFIXES:
        stretches = mpeg.walk(raw)
        inside = sum(end - start for stretch in stretches for start, end in stretch.spans)
        if inside > raw.seek(0, os.SEEK_END) / 2:
            yield from _stretches(stretches, raw, path)
            return
    chain = ogg.links(raw) if _is_ogg(raw) else []
    if any(_understood(_span(link, raw)) for link in chain):
        yield from _links(chain, raw, path)
        return
    with open_ffmpeg(path) as source:
        decoded = _verified(source.blocks, source.frames - source.slack, raw, path)
        yield replace(source, blocks=decoded, flaw=_ends_early(raw))


def _ends_early(raw: BinaryIO) -> str:
    """What is wrong with a file that ffmpeg reads."""
    if _is_ogg(raw):
        return next((flaw for link in ogg.links(raw) if (flaw := _missing(link, "its"))), "")
    peek = Peek(raw, HEADERS)
    samples = lengths.data(peek)
    cut = break_off(peek) or (samples is not None and samples.cut)
    return "cut short: the file ends within its audio" if cut else ""


def _counted(file: soundfile.SoundFile, raw: BinaryIO, path: Path) -> Iterator[AudioSource]:
    """Formats whose header tells how many samples there are."""
    found = lengths.data(Peek(raw, HEADERS))
    promised = _promised(file)
    if found and found.forgotten and not promised:
        file.close()
        yield _to_the_end(file, found, raw, path)
        return
    if found and found.cut and found.present:
        promised = max(round(file.frames * found.promised / found.present), file.frames + 1)
    blocks = _verified(_decoded(file, path), promised, raw, path)
    yield AudioSource(file.samplerate, file.channels, blocks, promised)


def _to_the_end(file: soundfile.SoundFile, found: lengths.SampleBytes, raw: BinaryIO, path: Path) -> AudioSource:
    """All the samples behind a header that was never completed."""
    if file.format not in ("WAV", "WAVEX") or file.subtype not in soundfile.available_subtypes("RAW"):
        where = f"the header says 0 bytes, but {found.present:,} follow it: have it repaired by a sound editor"
        raise AudioError(path, f"length missing: {where}")
    spans = Spans(raw, [(found.start, found.start + found.present)])
    samples = _ForwardFile(spans, "r", file.samplerate, file.channels, file.subtype, "LITTLE", "RAW")
    return AudioSource(samples.samplerate, samples.channels, _decoded(samples, path, spans), samples.frames)


def _mpeg(file: soundfile.SoundFile, raw: BinaryIO, path: Path) -> Iterator[AudioSource]:
    """An mp3 as it is, unless libsndfile would stop too early."""
    stretches = mpeg.walk(raw)
    if not stretches:
        yield AudioSource(file.samplerate, file.channels, _decoded(file, path))
    elif len(stretches) == 1 and len(stretches[0].spans) == 1 and file.frames >= _length(stretches[0]):
        yield _described(stretches[0], file, _decoded(file, path))
    else:
        file.close()
        yield from _stretches(stretches, raw, path)


def _stretches(stretches: Sequence[mpeg.Stretch], raw: BinaryIO, path: Path) -> Iterator[AudioSource]:
    """Nothing but the frames, so that nothing else is counted or stopped at."""
    for stretch in stretches:
        announcement = mpeg.corrected(stretch)
        spans = Spans(raw, [announcement, *stretch.spans], endless=not announcement)
        if file := _understood(spans):
            yield _described(stretch, file, _decoded(file, path, spans))
        else:
            yield _lost(f"{stretch.frames:,} frames cannot be decoded")


def _length(stretch: mpeg.Stretch, missing: int = 0) -> int:
    """Samples of a channel that a decoder gives, or would if some frames were not missing."""
    trimmed = stretch.announcements[0].trimmed if stretch.announcements else 0
    return max((stretch.frames + missing) * stretch.kind.samples - trimmed, 0)


def _described(stretch: mpeg.Stretch, file: soundfile.SoundFile, blocks: Iterator[np.ndarray]) -> AudioSource:
    kind, flaw = stretch.kind, ""
    each = sum(end - start for start, end in stretch.spans) / stretch.frames
    if stretch.cut:
        flaw = f"cut short: {'its last frames are missing' if stretch.missing else 'the file ends within a frame'}"
    elif stretch.alien / each * kind.samples > kind.sample_rate:  # room for a second of audio
        flaw = f"damaged: {stretch.alien:,} bytes between its frames are no audio"
    promised = _length(stretch, stretch.missing)
    return AudioSource(file.samplerate, file.channels, blocks, promised, MPEG_SLACK * kind.samples, flaw)


def _ogg(file: soundfile.SoundFile, raw: BinaryIO, path: Path) -> Iterator[AudioSource]:
    """One stream as it is, several one by one."""
    chain = ogg.links(raw)
    if len(chain) < 2:
        flaw = _missing(chain[0], "its") if chain else ""
        yield AudioSource(file.samplerate, file.channels, _decoded(file, path), _promised(file), OGG_SLACK, flaw)
        return
    file.close()
    yield from _links(chain, raw, path)


def _links(chain: Sequence[ogg.Link], raw: BinaryIO, path: Path) -> Iterator[AudioSource]:
    for number, link in enumerate(chain, start=1):
        spans = _span(link, raw)
        one = _understood(spans)
        if one is None:
            yield _lost(f"stream {number} of {len(chain)} cannot be decoded")
            continue
        flaw = _missing(link, f"of stream {number} of {len(chain)} the")
        yield AudioSource(one.samplerate, one.channels, _decoded(one, path, spans), _promised(one), OGG_SLACK, flaw)


def _span(link: ogg.Link, raw: BinaryIO) -> Spans:
    return Spans(raw, [(link.start, link.end)])


def _missing(link: ogg.Link, whose: str) -> str:
    if link.missing:
        return f"damaged: {link.missing:,} pages in the middle are missing"
    return "" if link.whole else f"cut short: {whose} last page is missing"


def _promised(file: soundfile.SoundFile) -> int:
    return file.frames if 0 < file.frames < UNKNOWN else 0


def _understood(spans: Spans) -> soundfile.SoundFile | None:
    try:
        return _ForwardFile(spans)
    except soundfile.LibsndfileError as error:
        if spans.error:
            raise spans.error from error
        return None


def _lost(what: str) -> AudioSource:
    """In the place of a piece that is there, but is none that libsndfile reads."""
    return AudioSource(UNHEARD, 1, iter(()), flaw=f"damaged: {what}")


def _decoded(file: soundfile.SoundFile, path: Path, spans: Spans | None = None) -> Iterator[np.ndarray]:
    buffer, done = np.empty((BLOCK, file.channels), np.float32), 0
    with file:
        try:
            while frames := file.buffer_read_into(buffer, "float32"):
                done += frames
                yield buffer[:frames]
        except soundfile.LibsndfileError as error:
            yield buffer[: min(max(file.tell() - done, 0), BLOCK)]  # decoded before it gave up
            raise AudioError(path, f"damaged: {_reason(error)}") from error
    if spans and spans.error:
        raise UnreadableAudio.of(path, spans.error)


def _verified(blocks: Iterator[np.ndarray], promised: int, raw: BinaryIO, path: Path) -> Iterator[np.ndarray]:
    """The same; where they break off, a decoder in C may have met a fault of the disk and taken it for the end."""
    done = 0
    try:
        for block in blocks:
            done += len(block)
            yield block
    except AudioError:
        _read_through(raw, path)
        raise
    if done < promised:
        _read_through(raw, path)


def _read_through(raw: BinaryIO, path: Path) -> None:
    with _reading(path):
        raw.seek(0)
        while raw.read(READ_AHEAD):
            pass


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(". ")
