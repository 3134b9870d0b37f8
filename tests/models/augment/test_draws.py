"""What is drawn for a batch, and that only chosen examples are computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.augment.draws import change, chosen, uniform

MANY = torch.zeros(10_000, 1)


def test_any_number_of_a_range_is_as_likely():
    torch.manual_seed(0)
    drawn = uniform(MANY, -20.0, -1.0)
    assert -20 <= float(drawn.min()) < -19.9
    assert -1.1 < float(drawn.max()) <= -1
    assert torch.histc(drawn, 19, -20, -1).sub(10_000 / 19).abs().max() < 100


@pytest.mark.parametrize(
    ("low", "high", "step", "count"), [(-20, -1, 1, 20), (200, 450, 50, 6), (0, 99, 1, 100), (0.1, 0.7, 0.1, 7)]
)
def test_steps_include_both_ends(low, high, step, count):
    torch.manual_seed(0)
    values, times = uniform(MANY, low, high, step).unique(return_counts=True)
    assert values.tolist() == pytest.approx([low + step * number for number in range(count)], abs=1e-5)
    assert times.min() > 0.5 * 10_000 / count


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.integers(1, 50))
def test_whole_steps_stay_in_their_range(low, width, step):
    drawn = uniform(MANY[:50], low, low + width, step)
    assert ((drawn >= low) & (drawn <= low + width) & ((drawn - low) % step == 0)).all()


def test_only_the_chosen_are_computed_with_what_was_drawn_for_them():
    torch.manual_seed(0)
    x, drawn, seen = torch.randn(40, 5), torch.arange(40.0), []

    def add(rows, values):
        seen.append(len(rows))
        return rows + values[:, None]

    where = chosen(x, 0.5)
    changed = change(x, where, add, drawn)
    assert seen == [int(where.sum())]
    assert torch.equal(changed, torch.where(where[:, None], x + drawn[:, None], x))
    for none in (torch.zeros(40, dtype=torch.bool), where):
        assert change(x, none, add, drawn).data_ptr() != x.data_ptr()
