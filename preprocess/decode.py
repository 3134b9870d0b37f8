"""An audio file to mono samples at the rate a front end wants, whole or block by block.

Channels are averaged by one product with a vector; where they cancel each other, the first one is taken alone.
Resampling is soxr's HQ filter (aliases below -120 dB), fed by blocks, which gives the very samples of resampling the
whole. However long the file, `stream` holds one block of it.

A file that was cut short or damaged gives what can be decoded of it, with a note; NaN, Inf and audio scaled to the
range of integers are refused.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import soxr

from datasets.text import printable
from preprocess.opening import open_sources
from preprocess.sources import AudioError, AudioSource, UnreadableAudio

LOUDEST = 100.0  # full scale is 1: audio beyond this was scaled to integers, or is not audio
# Energy of the mean of n channels, times n, as a share of that of a channel: 1 where they have nothing in common, n
# where they are equal. Less than this is left only where they are opposite up to the noise of a codec.
OPPOSITE = 0.02

logger = logging.getLogger(__name__)
_most: ContextVar[tuple[float, str]] = ContextVar("most", default=(math.inf, ""))  # seconds, and the setting of them


class OppositeChannels(AudioError):
    """Their mean is next to nothing, while each of them is audible."""


@contextmanager
def at_most(seconds: float, setting: str) -> Iterator[None]:
    """Refuse longer audio: at once where its header promises more, else as soon as more was decoded.

    A few kilobytes can unpack to hours of silence, so a service has to stop early; what it calls to decode is the same
    as everywhere, and need not know.

    Args:
        seconds: Of a file.
        setting: Where they can be changed.
    """
    before = _most.set((seconds, setting))
    try:
        yield
    finally:
        _most.reset(before)


def load(path: str | Path, sample_rate: int) -> np.ndarray:
    """Decode a whole file.

    Args:
        path: Audio file.
        sample_rate: Hz of the result.

    Returns:
        [samples] float32 mono, full scale 1. A file that was cut short gives what is left of it, and a warning in the
        log.

    Raises:
        AudioError: No such file, no audio, no samples, NaN, Inf or far over full scale.
    """
    notes: list[str] = []
    samples = whole(path, sample_rate, notes)
    for note in notes:
        logger.warning("%s: %s", printable(path), printable(note))
    return samples


def whole(path: str | Path, sample_rate: int, notes: list[str]) -> np.ndarray:
    """As `load`, with `notes` to take what is noted of the file."""
    try:
        return np.concatenate(list(stream(path, sample_rate, notes)))
    except OppositeChannels as error:
        notes.append(first_alone(error))
        return np.concatenate(list(stream(path, sample_rate, notes, mixed=False)))


def first_alone(error: OppositeChannels) -> str:
    """The note of a file that was decoded again without mixing."""
    return f"{error.reason}: the first one is taken alone"


def stream(
    path: str | Path, sample_rate: int, notes: list[str] | None = None, mixed: bool = True
) -> Iterator[np.ndarray]:
    """Decode a file block by block.

    Args:
        path: Audio file.
        sample_rate: Hz of the result.
        notes: Takes a note on a file that was decoded only in part.
        mixed: Take the mean of the channels, not the first one alone.

    Yields:
        [n] float32 mono; together they are what `load` returns.

    Raises:
        OppositeChannels: The channels cancel each other; known at the end.
        AudioError: As `load`, and within `at_most`; possibly only after some blocks.
    """
    tally, resampler, rate = _Tally(), None, sample_rate
    with closing(open_sources(Path(path))) as sources:
        for source in sources:
            if source.sample_rate != rate:
                if resampler:
                    yield _finite(resampler.resample_chunk(np.empty(0, np.float32), last=True), path)
                rate = source.sample_rate
                resampler = soxr.ResampleStream(rate, sample_rate, 1, "float32", "HQ") if rate != sample_rate else None
            before, frames = tally.seconds, 0
            _refuse_longer(path, before + (source.frames - source.slack) / rate, "promises")
            for mono in tally.mono(source, mixed):
                frames += len(mono)
                _refuse_longer(path, before + frames / rate, "has")
                yield _finite(resampler.resample_chunk(mono) if resampler else mono, path)
    if not tally.seconds:
        raise AudioError(path, "no samples: no audio follows the header")
    if mixed and tally.opposite:
        raise OppositeChannels(path, "the channels cancel each other")
    if notes is not None:
        notes += tally.notes()
    if resampler:
        yield _finite(resampler.resample_chunk(np.empty(0, np.float32), last=True), path)


def _refuse_longer(path: str | Path, seconds: float, has: str) -> None:
    most, setting = _most.get()
    if seconds > most:
        raise AudioError(path, f"too long: it {has} more than {most:g} s of audio ({setting})")


def _finite(samples: np.ndarray, path: str | Path) -> np.ndarray:
    """Refuse NaN, Inf and what would become so in a power spectrum, at the cost of one pass over the samples."""
    with np.errstate(over="ignore", invalid="ignore"):
        energy = samples @ samples
    if not energy < LOUDEST**2 * max(len(samples), 1):
        raise AudioError(path, f"NaN, Inf or far over full scale: mean energy {energy / len(samples):.1e} in a block")
    return samples


class _Tally:
    """What was decoded of a file, against what it should have had."""

    def __init__(self) -> None:
        self.seconds = self.promised = 0.0
        self.short, self.damage, self.flaws = False, "", []
        self.mean_energy = self.channel_energy = 0.0

    def mono(self, source: AudioSource, mixed: bool) -> Iterator[np.ndarray]:
        """Samples of a stream, [n] float32 a block; one that breaks off after some blocks ends there."""
        weights = np.full(source.channels, 1 / source.channels, np.float32)
        frames, damage = 0, ""
        try:
            for block in source.blocks:
                frames += len(block)
                mono = block @ weights if mixed else block[:, 0].copy()
                self._weigh(block, mono)
                yield mono
        except UnreadableAudio:
            raise
        except AudioError as error:
            if not (frames or self.seconds):
                raise
            damage = error.reason
        self.seconds += frames / source.sample_rate
        self.promised += max(frames, source.frames) / source.sample_rate
        self.short |= frames < source.frames - source.slack
        self.damage = self.damage or damage
        self.flaws += [source.flaw] if source.flaw else []

    def _weigh(self, block: np.ndarray, mono: np.ndarray) -> None:
        if block.shape[1] > 1:
            with np.errstate(over="ignore", invalid="ignore"):
                self.mean_energy += block.shape[1] ** 2 * float(mono @ mono)
                self.channel_energy += float(np.vdot(block, block))

    @property
    def opposite(self) -> bool:
        """Whether the mean of the channels holds next to nothing of them."""
        return self.mean_energy < OPPOSITE * self.channel_energy

    def notes(self) -> list[str]:
        """What is missing, if anything; where several things are wrong, the first."""
        if not (self.short or self.damage or self.flaws):
            return []
        digits = 3 if self.short and f"{self.seconds:.1f}" == f"{self.promised:.1f}" else 1
        left = f"{self.seconds:.{digits}f} s"
        if self.short:
            left += f" of the {self.promised:.{digits}f} s that the header promises"
        cause = self.flaws[0] if self.flaws else self.damage.replace("damaged", "cut short or damaged", 1)
        kind, _, detail = (cause or "cut short").partition(": ")
        if self.short and not self.damage:
            return [f"{kind}: {left}"]
        return [f"{kind}: {detail}, {left} are left"]
