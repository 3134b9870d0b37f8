"""A song with clicks at its beats, as FLAC: to hear whether they are where one taps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from models.files import replaced
from preprocess.opening import open_sources
from preprocess.sources import AudioError

SONG = 10 ** (-4 / 20)  # of its level, so that clicks stand out and seldom clip
LENGTH, DECAY = 0.06, 0.012  # seconds, of a click and until it has fallen to 1/e
PITCH, LEVEL = 1000.0, 0.4  # Hz and peak of full scale, of a click
ACCENT_PITCH, ACCENT_LEVEL = 1600.0, 0.6
MOST_CHANNELS = 8  # of FLAC
RATES = (1, 655_350)  # Hz, of FLAC


def write_clicks(source: Path, target: Path, times: np.ndarray, accents: np.ndarray) -> None:
    """Write a song with clicks, in its own sample rate and channels, block by block; the file is put in place whole.

    Args:
        source: The song.
        target: FLAC file, 16 bits; its folder is there.
        times: Of the clicks, seconds, ascending, `[clicks]`.
        accents: Which of them are higher and louder, bool `[clicks]`.

    Raises:
        AudioError: The song cannot be read, or FLAC cannot hold it.
        OSError: The file cannot be written.
    """
    try:
        with replaced(target, ".tmp") as aside:
            _write(source, aside, times, accents)
    except soundfile.LibsndfileError as error:
        raise AudioError(source, f"its clicks cannot be written: {error}") from None


def click(rate: int, accent: bool) -> np.ndarray:
    """A short decaying tone, float32 `[samples]`."""
    seconds = np.arange(round(LENGTH * rate)) / rate
    pitch, level = (ACCENT_PITCH, ACCENT_LEVEL) if accent else (PITCH, LEVEL)
    pitch = min(pitch, rate / 4)
    return (level * np.exp(-seconds / DECAY) * np.sin(2 * np.pi * pitch * seconds)).astype(np.float32)


def _write(source: Path, target: Path, times: np.ndarray, accents: np.ndarray) -> None:
    file: soundfile.SoundFile | None = None
    place, form = 0, (0, 0)
    try:
        for part in open_sources(source):
            if file is None:
                form = part.sample_rate, part.channels
                if part.channels > MOST_CHANNELS or not RATES[0] <= part.sample_rate <= RATES[1]:
                    raise AudioError(source, f"no clicks: FLAC does not hold {form[1]} channels at {form[0]} Hz")
                file = soundfile.SoundFile(target, "w", *form, format="FLAC", subtype="PCM_16")
                clicks = _Clicks(form[0], times, accents)
            if (part.sample_rate, part.channels) != form:
                raise AudioError(source, "no clicks: its sample rate or its number of channels changes on the way")
            for block in part.blocks:
                file.write(np.clip(SONG * block + clicks.between(place, place + len(block))[:, None], -1.0, 1.0))
                place += len(block)
    finally:
        if file is not None:
            file.close()


class _Clicks:
    """The clicks alone, any stretch of them."""

    def __init__(self, rate: int, times: np.ndarray, accents: np.ndarray) -> None:
        self.starts = np.rint(np.asarray(times, np.float64) * rate).astype(np.int64)
        self.accents = np.asarray(accents, bool)
        self.sounds = click(rate, False), click(rate, True)

    def between(self, begin: int, end: int) -> np.ndarray:
        """Samples from `begin` to before `end`, float32."""
        made = np.zeros(end - begin, np.float32)
        length = len(self.sounds[0])
        first, last = np.searchsorted(self.starts, [begin - length + 1, end])
        for start, accent in zip(self.starts[first:last], self.accents[first:last], strict=True):
            sound = self.sounds[int(accent)]
            low, high = max(start, begin), min(start + length, end)
            made[low - begin : high - begin] += sound[low - start : high - start]
        return made
