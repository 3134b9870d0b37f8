"""What a teacher's logits mean for a clip: which window speaks, and how its logits become a target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.clips import RandomCrops, Windows
from datasets.store import Header, Store, StoreWriter
from datasets.targets import ClipTargets
from datasets.teachers import Rule, Teacher, harden, overlapping, probabilities
from datasets.windows import Plan, exhaustive_windows, offset_range

CLASSES = 5


@pytest.fixture
def logits(tmp_path):
    """Logits of a track of three windows, and of one of a single window."""
    arrays = {"long.ogg": np.arange(15).reshape(3, CLASSES) - 7.0, "short.mp3": np.array([[-3.0, -1, -2, -4, -5]])}
    with StoreWriter(tmp_path / "logits", Header("logits", (CLASSES,), fingerprint="x")) as writer:
        for identity, array in arrays.items():
            writer.append(identity, array.astype(np.float16))
    return Store(tmp_path / "logits"), arrays


def shared(start, length, window_start, window):
    return max(0, min(start + length, window_start + window) - max(start, window_start))


@given(
    rows=st.integers(1, 3000),
    crop=st.integers(16, 700),
    window=st.integers(16, 700),
    half=st.booleans(),
    place=st.floats(0, 1),
)
def test_no_window_shares_more_with_a_crop_than_the_one_that_is_asked(rows, crop, window, half, place):
    hop = window // 2 if half else window
    starts = [start for start, _ in exhaustive_windows(rows, window, hop)]
    offsets = offset_range(rows, crop)
    start = offsets[int(place * (len(offsets) - 1))]
    chosen = overlapping(start, crop, window, hop, len(starts))
    most = max(shared(start, crop, first, window) for first in starts)
    assert shared(start, crop, starts[chosen], window) == most
    away = [abs(2 * first + window - 2 * start - crop) for first in starts]
    rivals = [n for n, first in enumerate(starts) if shared(start, crop, first, window) == most]
    assert (away[chosen], chosen) == min((away[n], n) for n in rivals)


@given(rows=st.integers(50, 3000), window=st.integers(50, 700))
def test_a_crop_that_is_a_window_is_judged_by_that_window(rows, window):
    starts = [start for start, _ in exhaustive_windows(rows, window)]
    for number, start in enumerate(starts):
        assert overlapping(start, window, window, window, len(starts)) == number


def test_windows_in_another_unit_are_found_too():
    assert overlapping(start=100, length=50, window=62.5, hop=62.5, windows=4) == 1
    assert overlapping(start=1e6, length=50, window=62.5, hop=62.5, windows=4) == 3


def test_the_threshold_is_exclusive():
    assert harden(np.array([0.45, np.nextafter(0.45, 1), 0.2, 0.9]), 0.45).tolist() == [0, 1, 0, 1]


def test_where_no_class_passes_the_largest_is_one():
    assert harden(np.array([0.1, 0.45, 0.3]), 0.45).tolist() == [0, 1, 0]
    assert harden(np.array([0.2, 0.2, 0.2]), 0.45).tolist() == [1, 0, 0]


def test_of_classes_that_exclude_each_other_one_is_chosen():
    assert harden(np.array([0.46, 0.0, 0.54]), 0.45, exclusive=True).tolist() == [0, 0, 1]


@given(st.lists(st.floats(-500, 500), min_size=2, max_size=8), st.floats(0.1, 20))
def test_probabilities(values, temperature):
    z = np.array(values)
    single, several = probabilities(z, True, temperature), probabilities(z, False, temperature)
    assert single.sum() == pytest.approx(1)
    assert ((several >= 0) & (several <= 1)).all()
    with np.errstate(over="ignore"):
        assert several == pytest.approx(1 / (1 + np.exp(-z / temperature)))
    assert probabilities(z + 3, True, temperature) == pytest.approx(single)


def test_the_target_is_that_of_the_overlapping_window(logits):
    store, arrays = logits
    teacher = Teacher(store, Rule(), window=100, hop=100)
    assert "long.ogg" in teacher
    for start, window in ((0, 0), (49, 0), (51, 1), (149, 1), (151, 2), (230, 2)):
        expected = harden(probabilities(arrays["long.ogg"][window]))
        assert teacher.targets("long.ogg", start, 100).tolist() == expected.tolist()
    assert teacher.targets("short.mp3", 0, 100).tolist() == [0, 1, 0, 0, 0]
    assert teacher.targets("long.ogg", 0, 100).dtype == np.float32


def test_a_clip_that_holds_several_windows_has_their_mean(logits):
    store, arrays = logits
    teacher = Teacher(store, Rule(soft=True), window=10, hop=10)
    chances = probabilities(arrays["long.ogg"])
    assert len(chances) == 3
    for start, length, held in ((0, 30, (0, 3)), (0, 25, (0, 2)), (5, 25, (1, 3)), (0, 19, (0, 1)), (9, 1000, (1, 3))):
        expected = chances[slice(*held)].mean(0)
        np.testing.assert_allclose(teacher.targets("long.ogg", start, length), expected, rtol=1e-6)


def test_the_mean_is_over_probabilities_and_before_the_threshold(logits):
    store, arrays = logits
    mean = probabilities(arrays["long.ogg"]).mean(axis=0)
    assert (mean > 0.45).any()
    assert not (mean > 0.45).all()
    hard, soft = (Teacher(store, Rule(soft=kind, window="mean"), 100, 100) for kind in (False, True))
    assert hard.targets("long.ogg", 0, 100).tolist() == (mean > 0.45).tolist()
    assert soft.targets("long.ogg", 200, 100) == pytest.approx(mean)


def test_soft_targets_have_a_temperature(logits):
    store, arrays = logits
    for exclusive in (False, True):
        teacher = Teacher(store, Rule(soft=True, temperature=4.0, exclusive=exclusive), 100, 100)
        expected = probabilities(arrays["long.ogg"][1], exclusive, 4.0)
        assert teacher.targets("long.ogg", 100, 100) == pytest.approx(expected, abs=1e-6)


def test_columns_are_chosen_before_the_largest_is(logits):
    store, _ = logits
    teacher = Teacher(store, Rule(), 100, 100, columns=[3, 0, 2])
    assert teacher.n_classes == 3
    assert teacher.targets("short.mp3", 0, 100).tolist() == [0, 0, 1]


def test_other_names_and_tracks_never_heard(logits):
    store, _ = logits
    teacher = Teacher(store, Rule(), 100, 100, names={"short.wav": "short.mp3"}, without=["long.ogg"])
    assert "short.wav" in teacher
    assert "long.ogg" not in teacher
    assert "gone.ogg" not in teacher
    assert teacher.targets("short.wav", 0, 100).tolist() == [0, 1, 0, 0, 0]
    assert np.isnan(teacher.targets("long.ogg", 0, 100)).all()
    assert np.isnan(teacher.targets("gone.ogg", 0, 100)).all()
    assert len(teacher.targets("gone.ogg", 0, 100)) == CLASSES


def test_rules_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="window='first': expected one of overlap, mean"):
        Rule(window="first")
    with pytest.raises(ValueError, match="temperature=0"):
        Rule(temperature=0)


def test_clips_carry_what_the_teacher_says_about_them(logits, tmp_path):
    store, arrays = logits
    with StoreWriter(tmp_path / "mels", Header("mel", (4,), fingerprint="m")) as writer:
        writer.append("long.ogg", np.arange(290)[:, None].repeat(4, 1).astype(np.float16))
    mels = Store(tmp_path / "mels")
    teacher, targets = Teacher(store, Rule(soft=True), 100, 100), ClipTargets(np.zeros((1, 2)))
    crops = RandomCrops(mels, ["long.ogg"], targets, 40, {"teacher": teacher.of(["long.ogg"])})
    for seed in range(20):
        item = crops[0, seed]
        start = int(item["x"][0, 0])
        expected = probabilities(arrays["long.ogg"][overlapping(start, 40, 100, 100, 3)])
        assert item["teacher"] == pytest.approx(expected, abs=1e-6)
    (window,) = Windows(mels, ["long.ogg"], targets, Plan(40, count=1), extra={"teacher": teacher.of(["long.ogg"])})
    assert window["teacher"] == pytest.approx(probabilities(arrays["long.ogg"][1]), abs=1e-6)
    assert "teacher" not in RandomCrops(mels, ["long.ogg"], targets, 40)[0, 0]
