"""How many requests an address may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.service import rates
from experiments.service.problems import ServiceError
from experiments.service.rates import Rates


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def granted(limits: Rates, address: str = "10.0.0.1") -> bool:
    try:
        limits.count(address)
    except ServiceError as error:
        return error.status != 429 or int(error.headers["Retry-After"]) < 1
    return True


@given(st.integers(1, 50), st.lists(st.floats(0, 20), max_size=200))
def test_no_more_than_a_bucket_and_what_came_back(rate, pauses):
    clock = Clock()
    limits, begin, count = Rates(rate, clock), clock.now, 0
    for pause in pauses:
        clock.now += pause
        count += granted(limits)
        assert count <= rate + (clock.now - begin) * rate / 60 + 1e-6


@given(st.integers(1, 50))
def test_who_comes_again_when_told_is_let_in(rate):
    clock = Clock()
    limits = Rates(rate, clock)
    for _ in range(rate):
        limits.count("10.0.0.1")
    for _ in range(5):
        with pytest.raises(ServiceError) as refusal:
            limits.count("10.0.0.1")
        clock.now += int(refusal.value.headers["Retry-After"])
        limits.count("10.0.0.1")
        while granted(limits):
            pass


def test_addresses_do_not_count_for_one_another():
    limits = Rates(1, Clock())
    assert granted(limits, "10.0.0.1")
    assert granted(limits, "10.0.0.2")
    assert not granted(limits, "10.0.0.1")
    assert granted(limits, "fd00:0:0:1::1")
    assert not granted(limits, "fd00:0:0:1:abcd::2")  # of the same owner
    assert granted(limits, "fd00:0:0:2::1")
    assert granted(limits, "fe80::1%eth0")
    assert not granted(limits, "::ffff:10.0.0.2")
    assert granted(limits, "")


def test_addresses_are_forgotten(monkeypatch):
    monkeypatch.setattr(rates, "REMEMBERED", 10)
    limits = Rates(1, Clock())
    for number in range(1000):
        assert granted(limits, f"10.0.{number // 250}.{number % 250}")
    assert len(limits._buckets) == 10
