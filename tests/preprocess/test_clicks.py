"""Songs with clicks: where the clicks are, and what is kept of the song."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from preprocess.clicks import LENGTH, SONG, click, write_clicks
from preprocess.sources import BLOCK, AudioError


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (8000, 1), (96_000, 6)])
def test_clicks_are_added_to_the_song_and_nothing_else_is_changed(tmp_path, rate, channels):
    seconds = 2 * BLOCK / rate + 0.1
    song = 0.2 * np.random.default_rng(0).standard_normal((round(rate * seconds), channels)).clip(-2, 2)
    soundfile.write(tmp_path / "song.wav", song, rate, subtype="FLOAT")
    times = np.array([0.0, BLOCK / rate - 0.01, seconds - 0.01])  # the second across two blocks, the third cut off
    write_clicks(tmp_path / "song.wav", tmp_path / "clicks.flac", times, np.array([True, False, True]))
    mixed, written_rate = soundfile.read(tmp_path / "clicks.flac", always_2d=True)
    assert (written_rate, mixed.shape) == (rate, song.shape)
    expected = SONG * song
    for time, accent in zip(times, (True, False, True), strict=True):
        start = round(time * rate)
        part = expected[start : start + round(LENGTH * rate)]
        part += click(rate, accent)[: len(part), None]
    np.testing.assert_allclose(mixed, expected.clip(-1, 1), atol=2 / 32768)
    assert [file.name for file in tmp_path.glob("*clicks*")] == ["clicks.flac"]


def test_a_click_on_a_downbeat_is_louder_and_higher():
    plain, accent = click(44_100, False), click(44_100, True)
    assert np.abs(accent).max() > 1.2 * np.abs(plain).max()
    assert np.abs(np.fft.rfft(accent)).argmax() > np.abs(np.fft.rfft(plain)).argmax()


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "bad.wav").write_text("x")
    soundfile.write(tmp_path / "many.wav", np.zeros((100, 9)), 8000)
    for name, reason in (("bad.wav", "not audio"), ("many.wav", "FLAC does not hold 9 channels at 8000 Hz")):
        with pytest.raises(AudioError, match=reason):
            write_clicks(tmp_path / name, tmp_path / "clicks.flac", np.zeros(1), np.ones(1, bool))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.wav", "many.wav"]
