"""The tones of the instruments that the composer uses: in tune, and the same whoever makes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from datasets.demo.soundfont import open_soundfont
from datasets.demo.styles import FAMILIES
from datasets.demo.synth import Note, check_soundfont, play
from datasets.demo.tones import SAMPLE_RATE, level, tone

CENTS = {
    "voice": 36,
    "synth pad": 24,
}  # samples of the soundfont that are themselves sung or tuned so far off; others 20
PROGRAMS = sorted((program, name) for name in FAMILIES if name != "drums" for program in FAMILIES[name].programs)


def off_by(sound: np.ndarray, pitch: int) -> float:
    """Cents between a tone and a pitch, octaves aside, by the sum of eight harmonics of both spectra."""
    size = 8 * SAMPLE_RATE
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    cents = np.arange(-600, 600, 2)
    best = (0.0, 0.0)
    for octave in (-1, 0, 1):
        frequencies = 440 * 2 ** ((pitch - 69) / 12 + octave + cents / 1200)
        places = np.round(frequencies[:, None] * np.arange(1, 9) * size / SAMPLE_RATE).astype(int)
        heard = np.where(places < len(spectrum), spectrum[np.minimum(places, len(spectrum) - 1)], 0)
        sums = (heard / np.sqrt(np.arange(1, 9))).sum(axis=1)
        best = max(best, (float(sums.max()), float(cents[np.argmax(sums)])))
    return best[1]


@pytest.mark.parametrize(("program", "family"), PROGRAMS)
def test_instruments_are_in_tune(program, family):
    compass = FAMILIES[family]
    for pitch in np.linspace(compass.low, compass.high, 4).round().astype(int):
        sound = play([Note(0.0, 1.0, int(pitch), 100)], program, False, check_soundfont(), 0.0, SAMPLE_RATE)
        assert abs(off_by(sound, int(pitch))) <= CENTS.get(family, 20), pitch


def test_threads_make_the_same_bytes():
    font = open_soundfont(check_soundfont())
    zones = [(font.zones(program, False, 60, 100)[0], 60) for program, _ in PROGRAMS]

    def made(place: tuple) -> bytes:
        return (tone(*place, 5000) * level(*place, 5000)).tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(made, zones)) == [made(place) for place in zones]
