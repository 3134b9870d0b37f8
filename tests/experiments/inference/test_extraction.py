"""Extraction: every window of every track reaches its place, whatever the batches; interruptions cost nothing."""

from __future__ import annotations

import csv
import weakref

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.store import Store, StoreError, StoreWriter
from datasets.upstream import open_features
from datasets.windows import Plan
from experiments.inference.batching import Job, Output
from experiments.inference.extraction import extract, header, made_of_other
from experiments.windowing import Windowing

BANDS, FRAMES = 4, 10


@pytest.fixture
def mels(tmp_path):
    """Tracks of 3 to 57 frames, every value of a track its frame number."""
    lengths = {f"{number}.ogg": length for number, length in enumerate([57, 3, 10, 24, 31, 9, 40])}
    made = header("mel", (BANDS,), "frame number", {"made": "by hand"})
    with StoreWriter(tmp_path / "mels", made) as writer:
        for identity, length in lengths.items():
            writer.append(identity, np.repeat(np.arange(1, length + 1, dtype=np.float32)[:, None], BANDS, 1))
    return Store(tmp_path / "mels")


def outputs(folder, producer="toy"):
    """Two stores: the sum of a window, and its negative."""
    made = header("logits", (1,), "frames", {"net": producer})
    return [Output(folder / "sums", made), Output(folder / "negative", made)]


def run_batch(clips):
    """For each store an array `[windows, 1]`."""
    return both(sums_of(clips))


def both(sums):
    sums = sums[:, None].to(torch.float16).numpy()
    return [sums, -sums]


def sums_of(clips):
    return clips.float()[:, :, 0].sum(dim=1)


def job(mels, outputs, batch_size=3, run_batch=run_batch, frames=FRAMES, hop=None):
    return Job(mels, Windowing(frames, Plan(frames, hop or frames), 1.0), run_batch, outputs, batch_size)


def expected(mels, identity, hop):
    return [
        mels.read_crop(identity, start, FRAMES)[:, 0].astype(np.float32).sum()
        for start in Plan(FRAMES, hop).starts(mels.length(identity))
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_size=st.integers(1, 12), hop=st.sampled_from([5, 10]))
def test_batches_do_not_change_what_is_stored(mels, tmp_path_factory, batch_size, hop):
    folder = tmp_path_factory.mktemp("stores")
    report = extract(job(mels, outputs(folder), batch_size, hop=hop), mels.ids)
    assert (report.written, report.already, report.skipped) == (len(mels.ids), 0, [])
    sums, negative = Store(folder / "sums"), Store(folder / "negative")
    for identity in mels.ids:
        assert sums.read(identity)[:, 0] == pytest.approx(expected(mels, identity, hop))
        assert np.array_equal(negative.read(identity), -sums.read(identity))


def test_an_interrupted_extraction_goes_on_where_it_was(mels, tmp_path):
    calls = []

    def breaks_off(clips):
        calls.append(len(clips))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run_batch(clips)

    with pytest.raises(KeyboardInterrupt):
        extract(job(mels, outputs(tmp_path), 3, breaks_off), mels.ids)
    report = extract(job(mels, outputs(tmp_path), 3), mels.ids)
    assert report.already > 0
    assert report.written + report.already == len(mels.ids)
    assert sorted(Store(tmp_path / "sums").ids) == sorted(mels.ids)
    again = extract(job(mels, outputs(tmp_path), 3), mels.ids)
    assert (again.written, again.already) == (0, len(mels.ids))


def test_a_track_that_only_one_of_two_stores_has_gets_into_the_other(mels, tmp_path):
    first, second = outputs(tmp_path)
    extract(job(mels, [first], 3, lambda clips: run_batch(clips)[:1]), mels.ids[:3])
    report = extract(job(mels, [first, second], 3), mels.ids)
    assert (report.written, report.already) == (len(mels.ids), 0)
    sums, negative = Store(first.folder), Store(second.folder)
    for identity in mels.ids:
        assert np.array_equal(negative.read(identity), -sums.read(identity))


def test_a_track_that_cannot_be_read_is_listed_and_the_others_go_on(mels, tmp_path):
    report = extract(job(mels, outputs(tmp_path), 4), ["0.ogg", "gone.ogg", "3.ogg"])
    assert report.written == 2
    assert [identity for identity, _ in report.skipped] == ["gone.ogg"]
    with (tmp_path / "sums" / "skipped.csv").open(newline="") as handle:
        assert [row["id"] for row in csv.DictReader(handle)] == ["gone.ogg"]


def test_tracks_much_shorter_than_a_window_are_counted(mels, tmp_path):
    assert extract(job(mels, outputs(tmp_path), 4), mels.ids).short == 1  # 3 frames; 9 are enough
    assert extract(job(mels, outputs(tmp_path / "longer"), 4, frames=30), mels.ids).short == 4  # 3, 9, 10, 24


def test_memory_does_not_follow_the_number_of_tracks(tmp_path):
    """Of what was read, a few batches are alive at any time; of what was computed, the tracks that are not whole."""
    length, batch_size = 25, 4
    alive: list[weakref.ref] = []
    most = 0

    class Endless:
        def length(self, identity):
            return length

        def read_crop(self, identity, start, frames):
            crop = np.ones((frames, BANDS), np.float16)
            alive.append(weakref.ref(crop))
            return crop

    def counted(clips):
        nonlocal most
        alive[:] = [reference for reference in alive if reference() is not None]
        most = max(most, len(alive))
        return run_batch(clips)

    ids = [f"{number}.ogg" for number in range(500)]
    report = extract(job(Endless(), outputs(tmp_path), batch_size, counted), ids)
    assert report.written == 500
    assert most <= 2 * batch_size + 3  # windows of a track


def test_values_that_are_not_finite_are_not_stored(mels, tmp_path):
    def poisoned(clips):
        sums = sums_of(clips)
        return both(sums / (sums != expected(mels, "1.ogg", FRAMES)[0]))

    report = extract(job(mels, outputs(tmp_path), 5, poisoned), mels.ids)
    assert [identity for identity, _ in report.skipped] == ["1.ogg"]
    assert "1.ogg" not in Store(tmp_path / "sums")


def test_a_store_of_another_network_is_not_added_to(mels, tmp_path):
    extract(job(mels, outputs(tmp_path), 5), ["0.ogg"])
    with pytest.raises(StoreError, match="other"):
        extract(job(mels, outputs(tmp_path, "other"), 5), mels.ids)


def test_a_folder_of_one_file_a_track_is_extracted_like_a_store(tmp_path):
    (tmp_path / "mels").mkdir()
    np.ones((25, 96), "<f2").tofile(tmp_path / "mels" / "a.mmap")
    features = open_features(tmp_path / "mels")
    report = extract(job(features, outputs(tmp_path), 3), features.ids)
    assert (report.written, report.skipped) == (1, [])
    assert Store(tmp_path / "sums").read("a.mmap").tolist() == [[10], [10]]
    assert made_of_other(Store(tmp_path / "sums"), features, features.ids) == []


def test_tracks_of_the_same_name_made_from_other_audio_are_found(mels, tmp_path):
    extract(job(mels, outputs(tmp_path), 3), mels.ids[:4])
    stored = Store(tmp_path / "sums")
    assert made_of_other(stored, mels, mels.ids) == []
    changed, same, *_ = mels.ids
    with StoreWriter(tmp_path / "other", mels.header) as writer:
        writer.append(changed, mels.read(changed) + np.float16(1))
        writer.append(same, mels.read(same))
    other = Store(tmp_path / "other")
    assert made_of_other(stored, other, other.ids) == [changed]
    assert made_of_other(stored, other, [same]) == []


def test_another_front_end_of_the_same_audio_is_not_other_audio(tmp_path):
    def features(name, **audio):
        with StoreWriter(tmp_path / name, header("mel", (BANDS,), "level", {"made": name})) as writer:
            for identity, checksum in audio.items():
                values = np.full((FRAMES, BANDS), len(name), np.float32)
                writer.append(f"{identity}.ogg", values, audio_checksum=checksum)
        return Store(tmp_path / name)

    one = features("one", a="crc32:0a", b="crc32:0b")
    extract(job(one, outputs(tmp_path)), one.ids)
    sums = Store(tmp_path / "sums")
    assert sums.row("a.ogg")["audio_checksum"] == "crc32:0a"
    other_front_end = features("second", a="crc32:0a", b="crc32:0b")
    assert made_of_other(sums, other_front_end, other_front_end.ids) == []
    replaced = features("replaced", a="crc32:0a", b="crc32:0c")
    assert made_of_other(sums, replaced, replaced.ids) == ["b.ogg"]


def test_embeddings_of_another_front_end_and_unknown_audio_are_not_suspected(mels, tmp_path):
    made = header("logits", (1,), "frames", {"frontend": "another"})
    with StoreWriter(tmp_path / "made", made) as writer:
        writer.append("0.ogg", np.ones((1, 1), np.float16))
    assert made_of_other(Store(tmp_path / "made"), mels, mels.ids) == []


def test_a_track_too_large_for_float16_is_listed_and_the_others_go_on(mels, tmp_path):
    huge = mels.ids[2]
    largest = float(expected(mels, huge, FRAMES)[0])

    def overflows(clips):
        sums = sums_of(clips)
        return both(torch.where(sums == largest, 1e6, sums))

    report = extract(job(mels, outputs(tmp_path), 3, overflows), mels.ids)
    assert huge in dict(report.skipped)
    assert report.written == len(mels.ids) - len(report.skipped)
