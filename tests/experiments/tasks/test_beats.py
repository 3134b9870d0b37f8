"""Beats as a task: targets and losses on its grid, windows to tracks, scores of tracks, what is left out of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.beats import Beats
from datasets.time_grid import TimeGrid
from experiments.errors import UserError
from experiments.tasks import build, from_metadata
from experiments.tasks.beat_scores import METRICS, means_over_tracks, score_decoded
from experiments.tasks.beats import USUAL_INTERVALS, BeatClasses, BeatTracking, WidenedBeatTracking
from models.rhythm.decoded import Decoded
from models.rhythm.decoding import Decoding

GRID = TimeGrid(50.0)
SONG = Beats(np.arange(0.3, 20, 0.5), np.arange(39 + 1) % 4 + 1)
UNBARRED = Beats(np.arange(0.3, 20, 0.4))
NAMES = ("beats", "beats_widened", "beats_classes")


def activations(beats: Beats, steps: int = 1000, grid: TimeGrid = GRID) -> np.ndarray:
    curves = np.full((steps, 2), 0.01, np.float32)
    for column, times in enumerate((beats.times, beats.downbeats)):
        curves[grid.nearest(times), column] = 0.95
    return curves


def estimate(beats: Beats, late: float = 0.0) -> Decoded:
    positions = np.zeros(len(beats), int) if beats.positions is None else beats.positions
    return Decoded(beats.times + late, positions, np.ones(len(beats), np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_can_make_it_again(name):
    task = build(name, **type(build(name)).measured([SONG, UNBARRED]))
    about = json.loads(json.dumps(task.metadata))
    again = from_metadata(about["task"], about["labels"], about.get("options"))
    assert (again.name, again.intervals, again.options) == (name, task.intervals, task.options)


def test_intervals_are_measured_on_what_is_annotated():
    measured = BeatTracking.measured([SONG, UNBARRED, Beats(np.array([])), "unreadable"])["intervals"]
    assert measured == pytest.approx([(39 * 0.5 + 49 * 0.4) / 88, 2.0])
    assert BeatTracking.measured([UNBARRED])["intervals"] == pytest.approx([0.4, USUAL_INTERVALS[1]])
    assert BeatTracking.measured([])["intervals"] == list(USUAL_INTERVALS)
    task = BeatTracking([1 / 1.92, 1 / 0.53]).on(GRID)
    assert task._weights(torch.zeros(1)).tolist() == [19, 87]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("decoder", ["peaks", "dbn"])
def test_without_annotated_downbeats_none_are_found(name, decoder):
    options = type(build(name)).measured([UNBARRED])
    assert options["downbeats"] is False
    task = from_metadata(name, build(name).classes, options).on(GRID).decoded_by(Decoding(name=decoder))
    found = task.events(activations(SONG))
    assert len(found) == len(SONG)
    assert (found.positions.tolist(), found.metre) == ([0] * len(SONG), None)
    assert "downbeats are not learned" in task.unlearned
    for tracks in ([UNBARRED, SONG], []):
        learned = build(name, **type(task).measured(tracks))
        assert ("downbeats" in learned.options, learned.unlearned) == (False, "")


@pytest.mark.parametrize("options", [{"intervals": [0.5]}, {"intervals": [0.5, 0.0]}, {"tolerance": -1}])
def test_options_that_cannot_be_are_named(options):
    with pytest.raises(UserError, match=f"beats: {next(iter(options))}="):
        BeatTracking(**options)


@pytest.mark.parametrize("kind", [BeatTracking, WidenedBeatTracking, BeatClasses])
def test_the_loss_falls_towards_the_targets(kind):
    task = kind().on(GRID)
    crop = task.targets([SONG]).crop(0, 0, 200)
    target, mask = (torch.from_numpy(crop[name])[None] for name in ("target", "mask"))
    outputs = torch.zeros(1, 200, task.n_outputs, requires_grad=True)
    before = task.loss(outputs, target, mask)
    before.backward()
    assert before.dtype == torch.float32
    assert task.loss(outputs - outputs.grad, target, mask) < before
    assert outputs.grad.isfinite().all()


def test_the_tolerance_is_in_seconds():
    for rate, steps in ((50.0, 3), (100.0, 6), (12.5, 1)):
        task = BeatTracking().on(TimeGrid(rate))
        targets = torch.zeros(1, 200, 2)
        targets[:, 100] = 1
        logits = torch.where(targets == 1, 4.0, -4.0)
        losses = [float(task.loss(logits.roll(shift, 1), targets)) for shift in range(steps + 2)]
        assert losses[:-1] == pytest.approx([losses[0]] * (steps + 1))
        assert losses[-1] > losses[0] + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_probabilities_of_any_beat_and_of_a_downbeat(name):
    task = build(name).on(GRID)
    outputs = torch.randn(3, 40, task.n_outputs, generator=torch.Generator().manual_seed(0)) * 20
    decoded = task.decode(outputs)
    assert decoded.shape == (3, 40, 2)
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    if name == "beats_classes":
        assert (decoded[..., 0] >= decoded[..., 1]).all()


@settings(max_examples=30)
@given(frames=st.integers(100, 2000), pool=st.sampled_from([1, 2, 5]), margin=st.integers(0, 12))
def test_windows_of_a_track_are_the_track(frames, pool, margin):
    grid = TimeGrid(100.0, pool, margin)
    task, window = BeatTracking().on(grid), 200
    apart = (window - 2 * margin) // pool * pool
    last = -(-max(frames - window, 0) // pool) * pool
    starts = np.array([*range(0, last, apart), last])
    whole = np.random.default_rng(0).random((grid.steps(frames + window) + 1, 2))
    windows = np.stack([whole[start // pool : start // pool + window // pool] for start in starts])
    joined = task.join(windows, starts, frames=frames)
    np.testing.assert_array_equal(joined, whole[: grid.steps(frames)])


def test_another_way_to_join_is_refused():
    with pytest.raises(UserError, match="lie side by side, so that join=max"):
        BeatTracking().on(GRID).join(np.zeros((1, 10, 2)), np.zeros(1), "max")


@pytest.mark.parametrize("decoder", ["peaks", "dbn"])
def test_exact_activations_have_exact_scores(decoder):
    task = BeatTracking().on(GRID).decoded_by(Decoding(name=decoder))
    found = task.score([activations(SONG), activations(UNBARRED)], [SONG, UNBARRED])
    assert found["beat_f1"] == found["downbeat_f1"] == found["f1"] == found["beat_cmlc"] == 1
    assert abs(found["beat_error"]) < 0.5 / GRID.rate
    assert (found["n_items"], found["n_downbeats_unknown"], found["n_beats_left_out"]) == (2, 1, 0)
    assert found["tempo_jumps"] == found["repeated_downbeats"] == 0
    assert all(isinstance(value, float) and np.isfinite(value) for value in found.values())
    assert task.primary_score([activations(SONG)], [SONG]) == 1


@pytest.mark.parametrize("decoder", ["dbn", "online"])
def test_the_bar_model_gets_probabilities_without_the_weight_of_the_loss(decoder):
    curves = np.full((400, 2), 0.6, np.float32)
    given = {name: build(name).on(GRID).decoded_by(Decoding(decoder))._evidence(curves) for name in NAMES}
    assert given["beats"][0] == pytest.approx([0.36, 0.085], abs=0.01)
    assert given["beats_widened"] is given["beats_classes"] is curves


@pytest.mark.parametrize("decoding", [None, Decoding("peaks")])
def test_peaks_are_of_the_activations_themselves(decoding):
    curves = np.full((400, 2), 0.6, np.float32)
    assert BeatTracking().on(GRID).decoded_by(decoding)._evidence(curves) is curves


def test_pooled_steps_stand_at_their_centre():
    grid = TimeGrid(62.5, 4)
    task = BeatTracking().on(grid)
    song = Beats(grid.times(300)[5::10][:25])
    assert np.abs(task.events(activations(song, 300, grid)).times - song.times).max() < 1e-9


def test_a_delay_that_was_measured_is_taken_off_and_kept_with_the_network():
    song = Beats(np.arange(1, 17) * 0.5, np.arange(16) % 4 + 1)
    late = BeatTracking(delay=0.04).on(GRID)
    again = from_metadata("beats", ["beat", "downbeat"], json.loads(json.dumps(late.options))).on(GRID)
    for task in (late, again):
        assert np.median(task.events(activations(song)).times - song.times) == pytest.approx(-0.04, abs=1e-3)
    assert "delay" not in BeatTracking().options
    first = Beats(np.array([0.0, 0.5, 1.0, 1.5, 2.0]), np.array([1, 2, 3, 4, 1]))
    assert late.events(activations(first)).times[0] >= 0
    with pytest.raises(UserError, match=r"delay=0\.5"):
        BeatTracking(delay=0.5)


@pytest.mark.parametrize("before", [0.0, 0.04, -0.1])
def test_a_delay_is_measured_alike_whatever_it_was_before(before):
    late = Beats(SONG.times + 0.04, SONG.positions)
    first = BeatTracking(delay=before).on(GRID)
    task = first.decoded_by(Decoding("peaks"))
    measured = []
    for _ in range(2):
        task.measure_delay([activations(late)], [SONG])
        measured.append((task.delay, task.options["delay"]))
    assert measured[0] == measured[1]
    assert measured[0] == pytest.approx((0.04, 0.04), abs=2e-3)
    assert (first.delay, first.options.get("delay", 0.0)) == (before, before)
    task.set_delay(0.0)
    assert "delay" not in task.options


def test_what_gives_no_ground_to_score_is_left_out_and_counted():
    early = Beats(np.array([0.5, 1.0, 1.5]), np.array([1, 2, 3]))  # nothing after five seconds
    one_bar = Beats(np.array([0.5, 6.0, 7.0]), np.array([1, 2, 3]))  # no downbeat after five seconds
    nothing = Beats(np.array([]))
    references = [SONG, UNBARRED, early, one_bar, nothing]
    table = score_decoded([estimate(one) for one in references], references, [20.0] * 5)
    found = means_over_tracks(table)
    assert (found["beat_f1"], found["downbeat_f1"]) == (1, 1)
    assert np.isfinite(table["beat_f1"]).tolist() == [True, True, False, True, False]
    assert np.isfinite(table["downbeat_f1"]).tolist() == [True, False, False, False, False]
    counts = {name: value for name, value in found.items() if name.startswith("n_")}
    assert counts == {"n_items": 5, "n_beats_left_out": 2, "n_downbeats_left_out": 2, "n_downbeats_unknown": 2}
    short = score_decoded([estimate(early)], [early], [1.9])  # a recording of two seconds counts from its beginning
    assert short["beat_f1"].tolist() == [1]
    with pytest.raises(UserError, match="no track has annotated beats that can be scored"):
        BeatTracking().on(GRID).score([activations(early)], [early])


def test_no_estimate_at_all_scores_zero():
    empty = Decoded(np.array([]), np.array([], int), np.array([], np.float32))
    found = means_over_tracks(score_decoded([empty], [SONG], [20.0]))
    assert all(found[name] == 0 for name in METRICS)
    assert "beat_error" not in found


def test_the_median_error_is_signed_and_over_tracks():
    estimates = [estimate(SONG, late) for late in (0.01, 0.02, -0.03, 0.3)]  # of the last no beat matches
    found = means_over_tracks(score_decoded(estimates, [SONG] * 4, [20.0] * 4))
    assert found["beat_error"] == pytest.approx(0.01)


def test_resampled_scores_are_the_scores_of_repeated_tracks():
    rng = np.random.default_rng(0)
    task, references = BeatTracking().on(GRID), [SONG, UNBARRED] * 3
    predictions = [np.clip(activations(one) * rng.uniform(0.3, 1, (1000, 1)), 0, 1) for one in references]
    draws = rng.integers(0, 6, (4, 6))
    draws[0] = 1  # no downbeats at all
    weights = np.stack([np.bincount(draw, minlength=6) for draw in draws])
    found = task.score_resampled(predictions, references, weights)
    assert np.isnan(found["downbeat_f1"][0])
    for number, draw in enumerate(draws[1:], 1):
        expected = task.score([predictions[one] for one in draw], [references[one] for one in draw])
        for name, values in found.items():
            assert values[number] == pytest.approx(expected[name])


def test_an_activation_that_is_no_number_is_named():
    broken = activations(SONG)
    broken[7, 1] = np.nan
    with pytest.raises(UserError, match="beats: activations of step 7 "):
        BeatTracking().on(GRID).score([broken], [SONG])


def test_an_annotation_that_is_no_list_of_beats_is_named():
    with pytest.raises(UserError, match="'often' cannot be read as beats"):
        BeatTracking().on(GRID).targets(["often"])


def test_without_a_network_over_time_it_says_what_is_missing():
    with pytest.raises(UserError, match="choose a network for beats"):
        BeatTracking().targets([SONG])


def test_kinds_of_tracks_are_ranges_of_their_tempo():
    assert BeatTracking.strata(SONG.times[None]) == ["120-140 BPM"]
    assert BeatTracking.strata(np.zeros((1, 0))) == ["no tempo"]
