"""Learning-rate factors at the epochs of the published recipe."""

from __future__ import annotations

import pytest

from experiments.learners.schedules import cos_cyc, exp_lin

PUBLISHED = {
    0: 0.01742,
    1: 0.04076,
    2: 0.1653,
    3: 0.44933,
    4: 0.81873,
    5: 1,
    50: 1,
    51: 0.9802,
    60: 0.802,
    75: 0.505,
    99: 0.0298,
    100: 0.01,
    129: 0.01,
}


@pytest.mark.parametrize(("epoch", "factor"), PUBLISHED.items())
def test_exp_lin_at_the_published_epochs(epoch, factor):
    assert exp_lin(5, 50, 50, 0.01)(epoch) == pytest.approx(factor, rel=1e-3)


def test_cos_cyc_cycles_until_the_ramp_and_stays_at_the_floor():
    factor = cos_cyc(4, 9, 5, 0.01)
    assert factor(0) == pytest.approx(0.01)
    assert factor(2) == pytest.approx(1)
    assert [factor(epoch) for epoch in range(4)] == pytest.approx([factor(epoch + 4) for epoch in range(4)])
    assert factor(11) > 0.01
    assert factor(12) == factor(40) == 0.01
