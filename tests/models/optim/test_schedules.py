"""Learning-rate factors at the epochs of the published recipe."""

from __future__ import annotations

import pytest
import torch

from models.optim.schedules import HALF_CYCLE, cos_cyc, cosine, cyclic, exp_lin, exponential

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


def test_exponential_is_a_linear_warm_up_and_a_half_every_epoch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    halved = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    factor = exponential(4, 0, 1, 1e-7)
    for epoch in range(8):
        assert factor(epoch) == pytest.approx(min(1, (epoch + 1) / 4) * optimizer.param_groups[0]["lr"])
        optimizer.step()
        halved.step()
    assert factor(200) == 1e-7


def test_cyclic_is_the_second_triangle_of_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    triangles = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 1e-7, 1.0, step_size_up=HALF_CYCLE, mode="triangular2", cycle_momentum=False
    )
    factor = cyclic(10, 10, 50, 1e-7)
    for step in range(4 * HALF_CYCLE + 3):
        assert factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        triangles.step()


def test_cosine_warms_up_stays_and_falls_along_half_a_cosine():
    factor = cosine(4, 10, 20, 0.1)
    assert [factor(epoch) for epoch in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert factor(10) == pytest.approx(1)
    assert factor(20) == pytest.approx(0.1 + 0.9 / 2)
    assert factor(30) == factor(99) == pytest.approx(0.1)
    annealed = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    half = torch.optim.lr_scheduler.CosineAnnealingLR(annealed, T_max=20, eta_min=0.1)
    for epoch in range(10, 31):
        assert factor(epoch) == pytest.approx(annealed.param_groups[0]["lr"])
        annealed.step()
        half.step()
