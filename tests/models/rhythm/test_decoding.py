"""What comes out of activations, good ones and bad ones, with every option."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rhythm.decoding import Decoding, decode, decode_all
from models.rhythm.options import DECODERS
from tests.models.rhythm import golden

UPSTREAM = {"name": "dbn", "min_bpm": 55.0, "refine": False}  # the range of the published decoders


def two_columns(other: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.stack([other + down, down], 1)


def clicks(bpm: float, metre: int, seconds: float = 30.0, rate: float = 50.0, start: float = 0.3, width: float = 0.02):
    """Activations of accented clicks; their times and positions."""
    times = np.arange(start, seconds, 60 / bpm)
    frames = np.arange(round(seconds * rate)) / rate
    positions = np.arange(len(times)) % metre + 1
    near = np.exp(-0.5 * ((frames[:, None] - times[None, :]) / width) ** 2)
    downbeat = near[:, positions == 1].max(1)
    return np.clip(np.stack([near.max(1), downbeat], 1) * 0.95, 0.002, 1), times, positions


@pytest.mark.parametrize("name", ["peaks", "dbn"])
@pytest.mark.parametrize(("bpm", "metre"), [(60.0, 4), (93.7, 3), (128.0, 4), (171.3, 3)])
def test_accented_clicks_are_found_where_they_are(name, bpm, metre):
    activations, times, positions = clicks(bpm, metre)
    found = decode(activations, 50, options=Decoding(name=name))
    assert len(found) == len(times)
    assert np.abs(found.times - times).max() < 0.5 / 50
    np.testing.assert_array_equal(found.positions, positions)
    assert found.metre == metre
    assert (found.confidence > 0.5).all()
    np.testing.assert_array_equal(found.downbeats, found.times[positions == 1])


def test_times_are_those_of_the_grid_of_the_activations():
    activations, _, _ = clicks(120, 4)
    for name in DECODERS:
        here, later = (decode(activations, 50, Decoding(name=name), offset=offset).times for offset in (0.0, 7.25))
        np.testing.assert_allclose(later, here + 7.25)


def test_sequences_with_known_beats():
    found = decode(golden.S2, 50, options=Decoding(**UPSTREAM))
    np.testing.assert_allclose(found.times, np.arange(40) * 0.5, err_msg="nothing is heard at 19.98 s")
    found = decode(golden.S1, 100, options=Decoding(**UPSTREAM))
    np.testing.assert_allclose(found.times, [0, 0.49, 0.99, 1.49, 1.99])
    found = decode(golden.S5, 50, options=Decoding(**UPSTREAM))
    np.testing.assert_allclose(found.times, np.flatnonzero(golden.S5 > 0.5) / 50)
    assert found.positions.tolist() == [0] * 40


@pytest.mark.parametrize(("activations", "period", "metre"), [(golden.S3, 0.5, 4), (golden.S4, 0.4, 3)])
def test_sequences_with_known_bars(activations, period, metre):
    found = decode(two_columns(*activations), 50, options=Decoding(**UPSTREAM))
    np.testing.assert_allclose(found.times, np.arange(len(found)) * period)
    np.testing.assert_array_equal(found.positions, np.arange(len(found)) % metre + 1)
    assert (len(found), found.metre) == (round(20 / period), metre)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("frames", [0, 1, 15])
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("values", ["zero", "one", "half", "random"])
def test_whatever_comes_gives_beats_in_order(name, frames, columns, values):
    rng = np.random.default_rng(0)
    made = {"zero": np.zeros, "one": np.ones, "half": lambda shape: np.full(shape, 0.5), "random": rng.random}
    found = decode(made[values]((frames, columns)).astype(np.float32), 50, options=Decoding(name=name))
    assert len(found.times) == len(found.positions) == len(found.confidence)
    assert (np.diff(found.times) > 0).all()
    if values == "zero" and name != "online":
        assert len(found) == 0


@given(st.sampled_from(["peaks", "dbn"]), st.integers(0, 2**32 - 1), st.integers(1, 200), st.booleans())
def test_beats_ascend_and_are_inside_and_bars_count_up(name, seed, frames, changes):
    activations = np.random.default_rng(seed).beta(0.3, 0.6, (frames, 2))
    found = decode(activations, 25, options=Decoding(name=name, metre_changes=changes, max_bpm=180.0))
    assert (np.diff(found.times) > 0).all()
    assert len(found) == 0 or (found.times[0] >= 0 and found.times[-1] <= (frames - 1) / 25)
    following = found.positions[1:] - found.positions[:-1]
    assert ((following == 1) | (found.positions[1:] <= 1)).all()


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_no_probability_is_refused_with_its_step(name):
    for value, said in ((np.nan, "nan"), (-0.1, "-0.1"), (3.0, "3"), (np.inf, "inf")):
        activations = np.full((50, 2), 0.1)
        activations[17, 1] = value
        with pytest.raises(ValueError, match=f"step 17 are 0.1, {said}"):
            decode(activations, 50, options=Decoding(name=name))
    with pytest.raises(ValueError, match=r"expected \[steps, 2\]"):
        decode(np.zeros((50, 3)), 50)


@pytest.mark.parametrize("rate", [0.0, -50.0, np.nan, np.inf])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate .*expected steps a second"):
        decode(np.zeros((50, 2)), rate)


def test_two_beats_do_not_climb_to_the_peak_between_them():
    beat = np.tile([0.9, 0.9, 0.9, 0.05], 30)
    beat[60:68] = [0.1, 0.1, 0.9, 0.95, 0.9, 0.1, 0.1, 0.05]
    options = Decoding(name="dbn", max_bpm=300.0, n_tempi=None, observation_lambda=1.5)
    assert (np.diff(decode(beat, 20, options=options).times) > 0).all()


def test_neither_torch_nor_anything_of_experiments_is_needed():
    code = """if True:
        import sys
        sys.modules.update(dict.fromkeys(("torch", "lightning", "sacred", "pymongo", "librosa", "datasets"), None))
        import numpy as np
        from models.rhythm.decoding import Decoding, decode
        for name in ("peaks", "dbn", "online"):
            activations = np.where(np.arange(200)[:, None] % [25, 100] == 0, 0.9, 0.02)
            print(len(decode(activations, 50, options=Decoding(name=name))))
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout.split()[:2] == ["8", "8"], ran.stderr


def test_nothing_is_found_in_silence_around_music():
    activations = np.concatenate([np.full((1000, 2), 0.01), clicks(120, 4, 20.0)[0], np.full((1000, 2), 0.01)])
    times = decode(activations, 50, options=Decoding(name="dbn")).times
    assert (len(times), times.min() >= 20, times.max() <= 40) == (40, True, True)
    assert len(decode(activations, 50, options=Decoding(name="dbn", threshold=0.0)).times) > 60


def test_a_known_tempo_decides_the_octave():
    activations, times, _ = clicks(90, 4)
    activations[:, 0] = np.maximum(activations[:, 0], 0.6 * clicks(180, 4)[0][:, 0])
    for bpm in (90.0, 180.0):
        found = decode(activations, 50, options=Decoding(name="dbn", tempo=bpm))
        assert 60 / np.median(np.diff(found.times)) == pytest.approx(bpm, rel=0.03)
    narrowed = decode(activations, 50, options=Decoding(name="dbn", min_bpm=60.0, max_bpm=120.0))
    assert len(narrowed) == len(times)


def test_half_and_double_tempo_are_offered_with_scores_the_best_first():
    activations, _, _ = clicks(100, 4)
    found = decode(activations, 50, options=Decoding(name="dbn"))
    (first, score), (second, worse) = found.alternatives
    assert sorted([first, second]) == pytest.approx([50, 200], rel=0.05)
    assert 0 > score > worse
    assert decode(activations, 50, options=Decoding(name="dbn", tempo=100.0)).alternatives == ()
    assert decode(activations, 50, options=Decoding(name="peaks")).alternatives == ()


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(40.0, 215.0), (30.0, 280.0), (20.0, 600.0)]),
    st.sampled_from([None, 60, 10]),
    st.sampled_from([0.0, 10.0, 100.0]),
)
@settings(max_examples=30, deadline=None)
def test_no_alternative_among_the_tempi_searched_is_likelier_than_what_was_found(seed, limits, n_tempi, steadiness):
    activations = np.random.default_rng(seed).beta(0.3, 0.6, (400, 1))
    low, high = limits
    options = Decoding("dbn", low, high, n_tempi=n_tempi, transition_lambda=steadiness)
    found = decode(activations, 25, options) if high < 500 else decode(activations, 50, options)
    for bpm, score in found.alternatives:
        if low <= found.tempo / 2 / 1.2 and found.tempo * 2 * 1.2 <= high:
            assert score <= 1e-6
        assert np.isfinite(score)
        assert min(abs(np.log2(bpm / found.tempo) - octave) for octave in (-1, 1)) < 0.45


def test_a_prior_decides_between_bars_that_fit_equally():
    activations, _, _ = clicks(120, 4)
    activations[:, 1] = 0.3 * activations[:, 0]
    for metre in (3, 4, 6):
        bars = {beats: 0.0 if beats == metre else -50.0 for beats in (3, 4, 6)}
        assert decode(activations, 50, options=Decoding(name="dbn", bars=bars)).metre == metre


def test_pinned_downbeats_move_the_bars_and_pinned_beats_the_beats():
    activations, times, _ = clicks(120, 4)
    activations[:, 1] = 0.3 * activations[:, 0]
    known = times[[2, 6]]
    for name in ("peaks", "dbn"):
        found = decode(activations, 50, options=Decoding(name=name, pinned_downbeats=tuple(known)))
        assert set(np.round(known, 2)) <= set(np.round(found.downbeats, 2))
    silent = activations.copy()
    silent[(np.arange(len(silent)) / 50 > 10) & (np.arange(len(silent)) / 50 < 20)] = 0.01
    pinned = tuple(times[(times > 10) & (times < 20)][::2])
    found = decode(silent, 50, options=Decoding(name="dbn", pinned=pinned))
    assert all(np.abs(found.times - time).min() <= 0.011 for time in pinned)
    with pytest.raises(ValueError, match="pinned beat at 31 s"):
        decode(activations, 50, options=Decoding(pinned=(31.0,)))


PINS = (5.0, 5.5, 6.0)


def conflicting() -> np.ndarray:
    """Clear beats 0.6 s apart, which are not where `PINS` are."""
    return clicks(100, 4, 20.0, start=0.3)[0]


@pytest.mark.parametrize("options", [{}, {"metre_changes": True}, {"correct": False}, {"bars": [4]}])
@pytest.mark.parametrize("name", ["peaks", "dbn"])
def test_pinned_beats_hold_against_a_clear_curve(name, options):
    found = decode(conflicting(), 50, Decoding(name, pinned=PINS, **options))
    assert set(PINS) <= set(found.times)
    inside = found.times[(found.times >= 5) & (found.times <= 6)]
    if name == "dbn":
        assert inside.tolist() == list(PINS)
    assert np.abs(inside - 5.1).min() > 0.05
    assert np.diff(found.times).min() > 0.19
    assert found.tempo == pytest.approx(100, rel=0.05)


@given(st.lists(st.floats(0.5, 19.0), min_size=1, max_size=5), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_pins_hold_or_are_refused(times, changes, seed):
    activations = np.random.default_rng(seed).beta(0.3, 0.6, (500, 2))
    activations[:, 1] *= activations[:, 0]
    options = Decoding("dbn", pinned=tuple(times), pinned_downbeats=(times[0],), metre_changes=changes, max_bpm=180.0)
    try:
        found = decode(activations, 25, options)
    except ValueError as error:
        if "pinned" in str(error):
            return
        raise
    for time in times:
        assert np.abs(found.times - time).min() <= 1.01 / 25
    assert np.abs(found.downbeats - times[0]).min() <= 1.01 / 25
    assert (np.diff(found.times) > 0).all()


def test_pins_in_silence_and_at_the_ends_hold():
    for name in ("peaks", "dbn"):
        for pins in ((0.0,), (9.98,), (0.0, 9.98), (3.0, 3.5)):
            found = decode(np.zeros((500, 2)), 50, Decoding(name, pinned=pins))
            assert set(pins) <= set(found.times)


def test_pins_that_no_path_keeps_to_are_refused():
    activations = conflicting()
    for pins, options in (((5.0, 5.1), {}), ((5.0, 6.0), {"min_bpm": 80.0, "max_bpm": 100.0}), (PINS, {"tempo": 90.0})):
        with pytest.raises(ValueError, match=r"two pinned beats are .* s apart: .* widen min_bpm and max_bpm"):
            decode(activations, 50, Decoding("dbn", pinned=pins, **options))
    with pytest.raises(ValueError, match=r"the pinned downbeat (5|5\.6) s after .* give more bars"):
        decode(activations, 50, Decoding("dbn", pinned_downbeats=(5.0, 5.6), bars=[4], min_bpm=80.0))
    with pytest.raises(ValueError, match=r"online.* use dbn or peaks"):
        Decoding("online", pinned=PINS)


def test_pins_leave_the_activations_as_they_were():
    activations = np.full((100, 2), 0.1)
    decode(activations, 50, options=Decoding(pinned=(1.0,), pinned_downbeats=(0.5,)))
    assert (activations == 0.1).all()


def test_a_change_of_metre_needs_the_second_stage():
    first, _, positions = clicks(120, 4, 24.0, start=0.0)
    second, _, more = clicks(120, 3, 24.0, start=0.0)
    activations, truth = np.concatenate([first, second]), np.concatenate([positions, more])
    fixed = decode(activations, 50, options=Decoding(name="dbn"))
    changing = decode(activations, 50, options=Decoding(name="dbn", metre_changes=True))
    np.testing.assert_array_equal(changing.positions, truth)
    assert len(fixed) == len(truth)
    assert (fixed.positions == truth).mean() < 0.8


def test_an_uncorrected_beat_is_the_first_frame_in_which_it_is_heard():
    corrected = decode(golden.S5, 50, options=Decoding(**UPSTREAM)).times
    first = decode(golden.S5, 50, options=Decoding(**UPSTREAM, correct=False)).times
    assert (first <= corrected).all()
    assert (corrected - first < 0.1).all()


def test_recordings_in_threads_come_back_in_their_order():
    several = [clicks(bpm, 4)[0] for bpm in (80, 100, 120, 140)]
    options = Decoding(name="dbn")
    together = decode_all(several, 50, options=options, jobs=3)
    for activations, found in zip(several, together, strict=True):
        np.testing.assert_array_equal(found.times, decode(activations, 50, options=options).times)


def test_bars_may_be_named_alone_and_options_come_third():
    activations, times, _ = clicks(120, 3)
    found = decode(activations, 50, Decoding("dbn", bars=[3, 4]))
    assert (found.metre, len(found)) == (3, len(times))
    assert Decoding(bars=[3, 4]) == Decoding()
    with pytest.raises(TypeError, match=r"options 0.5: expected a Decoding; .* offset=SECONDS"):
        decode(activations, 50, 0.5)


def test_the_tempo_of_what_is_found():
    assert decode(clicks(120, 4)[0], 50).tempo == pytest.approx(120, rel=0.01)
    assert decode(np.zeros((100, 2)), 50).tempo is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "crf"}, "expected one of peaks, dbn, online"),
        ({"min_bpm": 200.0, "max_bpm": 100.0}, "5 <= min_bpm <= max_bpm"),
        ({"bars": {}}, "numbers of beats"),
        ({"bars": {0: 0.0}}, "numbers of beats"),
        ({"bars": {4: np.inf}}, "numbers of beats"),
        ({"min_bpm": 0.01}, "5 <= min_bpm"),
        ({"tempo": -1.0}, "5 BPM or more"),
        ({"transition_lambda": ()}, "transition_lambda"),
        ({"transition_lambda": -1.0}, "transition_lambda"),
        ({"transition_lambda": (100.0, np.nan)}, "transition_lambda"),
        ({"threshold": 1.5}, "threshold 1.5: expected 0 to 1"),
        ({"peak_threshold": np.nan}, "peak_threshold nan"),
        ({"min_interval": -1.0}, "min_interval -1: expected seconds"),
        ({"n_tempi": 0}, "at least 1"),
        ({"observation_lambda": 1.0}, "more than 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Decoding(**options)


# Published activations with what the published decoder finds in them; their licence keeps them out of this project.
PUBLISHED = sorted(Path(os.environ.get("MADMOM_TESTS", "no such folder")).rglob("sample.beats_blstm.npz"))


@pytest.mark.parametrize("file", PUBLISHED)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"threshold": 0.0}, [0.10, 0.45, 0.80, 1.12, 1.48, 1.80, 2.15, 2.49]),
        ({"threshold": 0.0, "correct": False}, [0.10, 0.44, 0.78, 1.12, 1.46, 1.80, 2.14, 2.48]),
        ({"threshold": 0.25, "correct": False}, [0.09, 0.43, 0.77, 1.11, 1.45, 1.79, 2.13]),
        ({"threshold": 1.0}, []),
    ],
)
def test_published_activations(file, options, expected):
    with np.load(file, allow_pickle=False) as saved:
        activations, rate = saved["activations"], float(saved["fps"])
    found = decode(activations, rate, options=Decoding(**UPSTREAM, n_tempi=None, **options))
    np.testing.assert_allclose(found.times, expected, atol=1e-9)
