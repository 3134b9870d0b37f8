"""Crops of features and of audio with their targets: where they lie, what pads them, how several views are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from datasets.beat_targets import BeatTargets
from datasets.beats import Beats
from datasets.clips import RandomCrops, Windows
from datasets.store import Header, Store, StoreWriter
from datasets.targets import ClipTargets, FrameTargets
from datasets.time_grid import TimeGrid
from datasets.windows import Plan, offset_range

LENGTHS = {"a.ogg": 300, "b.ogg": 25, "c.ogg": 41}
IDS = list(LENGTHS)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Features whose value is the frame's number, filled with -100, and audio whose value is the sample's."""
    folder = tmp_path_factory.mktemp("stores")
    headers = {"mel": Header("mel", (3,), fill=-100.0), "audio": Header("audio", (), "int16")}
    for name, header in headers.items():
        with StoreWriter(folder / name, header) as writer:
            for identity, rows in LENGTHS.items():
                count = np.arange(1, 1 + rows)
                array = count.astype(np.int16) if name == "audio" else count[:, None].repeat(3, 1).astype(np.float16)
                writer.append(identity, array)
    return {name: Store(folder / name) for name in headers}


def frame_targets(hop: int = 1) -> FrameTargets:
    return FrameTargets([np.arange(1, 1 + rows // hop) for rows in LENGTHS.values()])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(track=st.integers(0, 2), seed=st.integers(0, 2**62))
def test_the_draw_of_one_view_is_one_number_of_a_fresh_generator(stores, track, seed):
    rows = LENGTHS[IDS[track]]
    offsets = offset_range(rows, 40)
    start = offsets[np.random.default_rng(seed).integers(len(offsets))]
    item = RandomCrops(stores["mel"], IDS, ClipTargets(np.eye(3)), 40)[track, seed]
    assert item.keys() == {"x", "target", "track", "start", "rows"}
    assert item["target"].tolist() == np.eye(3)[track].tolist()
    assert item["start"].dtype == np.int64
    if rows >= 40:
        assert (item["start"], item["x"][0, 0]) == (start, start + 1)
    np.testing.assert_array_equal(item["x"], stores["mel"].read_crop(IDS[track], start, 40))


def test_a_short_track_is_centred_in_silence_and_starts_before_itself(stores):
    item = RandomCrops(stores["mel"], IDS, frame_targets(), 40)[1, 0]
    assert item["start"] == -7
    assert (item["x"][:7] == -100).all()
    assert (item["x"][32:] == -100).all()
    np.testing.assert_array_equal(item["x"][7:32, 0], np.arange(1, 26))
    np.testing.assert_array_equal(item["target"][7:32], np.arange(1, 26))
    assert item["mask"].tolist() == [0] * 7 + [1] * 25 + [0] * 8


def test_targets_of_frames_lie_where_the_rows_do(stores):
    crops = RandomCrops(stores["mel"], IDS, None, 40, {"beats": frame_targets()})
    for seed in range(20):
        item = crops[seed % 3, seed]
        assert item.keys() == {"x", "beats", "beats_mask", "track", "start", "rows"}
        inside = item["beats_mask"] == 1
        np.testing.assert_array_equal(item["x"][inside, 0], item["beats"][inside])
        assert (item["x"][~inside] == -100).all()


def test_audio_is_counted_in_samples_and_its_targets_in_frames(stores):
    seen = []

    class Watched(FrameTargets):
        def crop(self, track, start, frames, rate=1.0):
            seen.append((start, frames))
            return super().crop(track, start, frames, rate)

    crops = RandomCrops(stores["audio"], IDS, Watched(frame_targets(10).arrays), 40, hop=10)
    item = crops[0, 5]
    assert (item["x"].dtype, item["x"].shape) == (np.int16, (40,))
    assert item["x"][0] == item["start"] + 1
    assert seen == [(item["start"] / 10, 4)]
    assert item["target"][0] == round(item["start"] / 10) + 1


def test_a_crop_at_another_speed_has_the_rows_and_the_targets_of_that_speed(stores):
    crops = RandomCrops(stores["mel"], IDS, frame_targets(), 40, speeds=(0.8, 1.25))
    rates = set()
    for seed in range(20):
        item = crops[seed % 3, seed]
        assert item["x"].shape == (51, 3)
        assert 0.8 <= item["rate"] <= 1.25
        rates.add(float(item["rate"]))
        places = np.rint(item["start"] + item["rate"] * np.arange(40)).astype(int)
        inside = places < LENGTHS[IDS[seed % 3]]
        assert item["mask"].tolist() == inside.tolist()
        np.testing.assert_array_equal(item["target"][inside], places[inside] + 1)
        held = np.minimum(51, LENGTHS[IDS[seed % 3]] - item["start"])
        np.testing.assert_array_equal(item["x"][:held, 0], item["start"] + 1 + np.arange(held))
    assert len(rates) == 20
    assert "rate" not in RandomCrops(stores["mel"], IDS, frame_targets(), 40)[0, 0]


def test_targets_may_choose_the_speed(stores):
    class Double(FrameTargets):
        def draw_rate(self, track, low, high, rng):
            return high

    crops = RandomCrops(stores["mel"], IDS, Double(frame_targets().arrays), 40, speeds=(0.5, 2.0))
    assert {float(crops[0, seed]["rate"]) for seed in range(5)} == {2.0}


def test_what_a_track_lacks_is_padded_behind_where_windows_lie_on_one_grid(stores):
    windows = Windows(stores["mel"], IDS, frame_targets(), Plan(40, 36, align=4))
    items = [item for item in windows if item["track"] == 1]
    assert [int(item["start"]) for item in items] == [0]
    assert items[0]["mask"].tolist() == [1] * 25 + [0] * 15
    assert (items[0]["x"][25:] == -100).all()
    assert items[0]["rows"] == 25


def test_targets_learn_how_much_of_a_crop_is_padding(stores):
    targets = BeatTargets([Beats(np.arange(0.0, 3.0, 0.5))] * 3, TimeGrid(10.0, 2))
    windows = Windows(stores["mel"], IDS, targets, Plan(40, 36, align=4))
    (item,) = [item for item in windows if item["track"] == 1]
    assert item["mask"][:, 0].tolist() == [1] * 13 + [0] * 7  # of 25 rows
    crops = RandomCrops(stores["mel"], IDS, targets, 40, speeds=(0.5, 2.0))
    for seed in range(10):
        item = crops[1, seed]
        assert item["mask"][:, 0].sum() == min(20, math.ceil((25 - item["start"]) / item["rate"] / 2))


def test_several_views_are_drawn_one_after_another(stores):
    rng = np.random.default_rng(9)
    starts = [int(rng.integers(261)) for _ in range(3)]
    item = RandomCrops(stores["mel"], IDS, frame_targets(), 40, views=3)[0, 9]
    assert item["x"].shape == (3, 40, 3)
    assert item["start"].tolist() == starts
    assert item["x"][:, 0, 0].tolist() == [start + 1 for start in starts]
    assert item["target"].shape == item["mask"].shape == (3, 40)
    assert item["track"].shape == ()
    assert "target" not in RandomCrops(stores["mel"], IDS, None, 40, views=2)[0, 9]


def test_windows_cover_a_track_and_say_where_they_start(stores):
    windows = Windows(stores["mel"], IDS, ClipTargets(np.arange(3)), Plan(40, 40))
    items = list(windows)
    assert [int(item["window"]) for item in items] == list(range(len(windows)))
    assert [int(item["start"]) for item in items if item["track"] == 0] == [*range(0, 280, 40)]
    assert [int(item["start"]) for item in items if item["track"] == 1] == [-7]
    assert [int(item["start"]) for item in Windows(stores["mel"], IDS, None, Plan(40, count=1))] == [130, -7, 0]
    batch = next(iter(DataLoader(windows, batch_size=4)))
    assert batch["x"].shape == (4, 40, 3)
    assert batch["start"].tolist() == [0, 40, 80, 120]


def test_a_last_window_that_lacks_rows_starts_before_its_first_row(tmp_path):
    with StoreWriter(tmp_path, Header("audio", (), "int16")) as writer:
        writer.append("d.ogg", np.arange(1, 78, dtype=np.int16))
    *_, last = Windows(Store(tmp_path), ["d.ogg"], None, Plan(40, 40))
    assert int(last["start"]) == 40 - 1
    assert last["x"].tolist() == [0, *range(41, 78), 0, 0]
