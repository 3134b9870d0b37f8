"""Whose windows are next: everything once, in order, and nobody twice before another."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experiments.service.turns import Turns, WaitingWindows

SIZE = 4
LONG = 600.0  # seconds


def network(windows: np.ndarray) -> list[np.ndarray]:
    return [windows]


def other(windows: np.ndarray) -> list[np.ndarray]:
    return [windows]


def work_of(count: int, run_batch=network, length: int = 2) -> WaitingWindows:
    return WaitingWindows(run_batch, [np.zeros(length, np.float32)] * count)


def all_taken(turns: Turns) -> list[list[tuple[WaitingWindows, int]]]:
    batches = []
    while batch := turns.take(False):
        batches.append(batch)
    return batches


works = st.lists(
    st.tuples(st.integers(1, 20), st.sampled_from([network, other]), st.integers(1, 2)), min_size=1, max_size=8
)


@given(works, st.booleans())
def test_every_window_is_taken_once_and_in_order_with_others_of_its_kind_alone(drawn, shared):
    turns, waiting = Turns(SIZE, shared, LONG), [work_of(*one) for one in drawn]
    for work in waiting:
        turns.add(work)
    batches = all_taken(turns)
    for work in waiting:
        assert [number for batch in batches for one, number in batch if one is work] == list(range(len(work.windows)))
    for batch in batches:
        assert 1 <= len(batch) <= SIZE
        assert len({work.kind for work, _ in batch}) == 1
        assert shared or len({work for work, _ in batch}) == 1


@given(works)
def test_windows_of_a_request_are_cut_on_a_cpu_as_those_of_a_single_file(drawn):
    turns, waiting = Turns(SIZE, False, LONG), [work_of(*one) for one in drawn]
    for work in waiting:
        turns.add(work)
    batches = all_taken(turns)
    for work in waiting:
        sizes = [len(batch) for batch in batches if batch[0][0] is work]
        full, rest = divmod(len(work.windows), SIZE)
        assert sizes == [SIZE] * full + [rest] * (rest > 0)


@given(works, st.booleans())
def test_a_request_has_one_turn_more_than_another_that_waits_for_the_same_network_at_most(drawn, shared):
    turns, waiting = Turns(SIZE, shared, LONG), [work_of(count) for count, _, _ in drawn]
    for work in waiting:
        turns.add(work)
    had: Counter[WaitingWindows] = Counter()
    while batch := turns.take(False):
        had.update([work for work, _ in batch] if shared else [batch[0][0]])
        most = max(had.values())
        assert all(had[work] >= most - 1 for work in waiting if work.waiting)


def test_networks_take_turns():
    turns = Turns(SIZE, False, LONG)
    for _ in range(3):
        turns.add(work_of(1))
    turns.add(work_of(1, other))
    assert [batch[0][0].run_batch for batch in all_taken(turns)] == [network, other, network, network]


def test_a_batch_is_due_when_it_is_full_when_it_waited_and_when_nothing_else_is_coming():
    turns = Turns(SIZE, True, LONG)
    assert turns.due(True) is None
    turns.add(early := work_of(SIZE - 1))
    assert 0 < turns.due(True) <= LONG
    assert not turns.take(True)
    assert turns.due(False) == 0
    early.since = time.monotonic() - LONG
    assert turns.due(True) == 0
    early.since = time.monotonic()
    turns.add(work_of(1))
    assert turns.due(True) == 0
    assert len(turns.take(True)) == SIZE
    assert turns.due(True) is None


def test_batches_of_one_request_wait_for_nobody():
    turns = Turns(SIZE, False, LONG)
    turns.add(work_of(1))
    assert turns.due(True) == 0


def test_what_nobody_waits_for_any_more_is_forgotten():
    turns = Turns(SIZE, True, LONG)
    turns.add(gone := work_of(3))
    turns.add(stays := work_of(1))
    gone.done.cancel()
    assert turns.take(False) == [(stays, 0)]
    assert turns.due(False) is None
