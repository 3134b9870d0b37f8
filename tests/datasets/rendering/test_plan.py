"""Which piece becomes what: shares, prefixes, splits."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.demo.rendering import plan
from datasets.demo.rendering.plan import WRITTEN, Source

KINDS = ("drums", "piano", "band")
SOURCES = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=4), st.sets(st.sampled_from(KINDS), min_size=1)),
    min_size=1,
    max_size=30,
    unique_by=lambda one: one[0],
).map(lambda found: [Source(name, tuple(sorted(kinds)), 20.0, "") for name, kinds in found])
SHARES = st.fixed_dictionaries({kind: st.integers(0, 5).map(float) for kind in KINDS})


@given(SOURCES, SHARES, st.integers(1, 80), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_clips_have_their_shares_and_a_shorter_corpus_is_a_prefix(sources, shares, count, seed):
    clips = list(islice(plan.clips(sources, shares, (5.0, 9.0), seed), count))
    assert clips[: count // 2] == list(islice(plan.clips(sources[::-1], shares, (5.0, 9.0), seed), count // 2))
    assert len({(clip.source.name, clip.kind, clip.variant) for clip in clips}) == len(clips)
    assert all(clip.kind in clip.source.kinds and 5 <= clip.seconds <= 9 for clip in clips)
    possible = {kind: share for kind, share in shares.items() if share and any(kind in one.kinds for one in sources)}
    assert bool(clips) == bool(possible)
    handed = Counter(clip.kind for clip in clips)
    for kind, share in possible.items():
        assert abs(handed[kind] - len(clips) * share / sum(possible.values())) <= len(possible)


def test_pieces_are_used_evenly():
    sources = [Source(f"{number}", KINDS, 20.0, "") for number in range(7)]
    clips = islice(plan.clips(sources, dict.fromkeys(KINDS, 1.0), (5, 9), 0), 21)
    assert set(Counter(clip.source.name for clip in clips).values()) == {3}


def test_whole_files_are_as_long_as_they_are_and_hours_end_the_plan():
    sources = [Source(f"{number}", (WRITTEN,), 100.0 + number, "") for number in range(5)]
    clips = plan.enough(plan.clips(sources, {WRITTEN: 1.0}, (5, 9), 0), None, 250.0)
    assert [clip.seconds - 100 for clip in clips] == [float(clip.source.name) for clip in clips]
    assert len(clips) == 3


@given(SOURCES, st.integers(0, 9))
def test_every_piece_has_one_split_and_every_split_pieces(sources, seed):
    split = plan.splits(sources, {"train": 0.8, "valid": 0.1, "test": 0.1}, seed)
    assert set(split) == {source.name for source in sources}
    if len(sources) >= 3:
        assert set(split.values()) == {"train", "valid", "test"}


def test_splits_of_a_table_are_kept():
    sources = [Source(f"{number}", (WRITTEN,), 9.0, "test" if number < 4 else "") for number in range(30)]
    split = plan.splits(sources, {"train": 0.9, "valid": 0.1}, 0, keep=True)
    assert {split[f"{number}"] for number in range(4)} == {"test"}
    assert Counter(split.values())["valid"] == 3
