"""Random streams of a probe: functions of seed and step, nested over rates of dropout."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.probes import rng

seeds, steps = st.integers(0, 2**31), st.integers(0, 10**6)


@given(seeds, steps, st.integers(1, 300), st.integers(1, 400))
def test_a_batch_has_every_item_at_most_once(seed, step, items, size):
    drawn = rng.batch(seed, step, items, size)
    assert drawn.dtype == np.int64
    assert len(drawn) == min(size, items) == len(set(drawn.tolist()))
    assert drawn.min() >= 0
    assert drawn.max() < items
    np.testing.assert_array_equal(drawn, rng.batch(seed, step, items, size))


@settings(deadline=None)
@given(seeds, steps, st.integers(0, 1), st.integers(1, 40), st.integers(1, 50))
def test_masks_of_larger_rates_hold_those_of_smaller_ones(seed, step, layer, items, values):
    noise = rng.dropout_noise(seed, step, layer, items, values)
    assert noise.shape == (items, values)
    assert torch.equal(noise, rng.dropout_noise(seed, step, layer, items, values))
    x = torch.ones(items, values)
    kept = [rng.dropout(x, noise, p) for p in (0.0, 0.25, 0.5, 0.75)]
    assert torch.equal(kept[0], x)
    for less, more in zip(kept[1:], kept, strict=False):
        assert ((less > 0) <= (more > 0)).all()
    for p, values_of in zip((0.25, 0.5, 0.75), kept[1:], strict=True):
        assert set(values_of.unique().tolist()) <= {0.0, float(torch.tensor(1 / (1 - p)))}
    assert torch.equal(x, torch.ones(items, values))


def test_every_item_and_every_rate_has_its_share():
    counts = np.bincount(np.concatenate([rng.batch(0, step, 20, 5) for step in range(4000)]), minlength=20)
    assert abs(counts - 1000).max() < 5 * 1000**0.5
    noise = rng.dropout_noise(3, 7, 0, 400, 500)
    assert 0 <= int(noise.min()) <= int(noise.max()) < rng.RESOLUTION
    for p in (0.25, 0.5, 0.75):
        dropped = (rng.dropout(torch.ones(400, 500), noise, p) == 0).double().mean()
        assert abs(float(dropped) - p) < 0.005


def test_steps_layers_and_seeds_differ():
    first = rng.dropout_noise(0, 0, 0, 8, 8)
    assert not any(torch.equal(first, rng.dropout_noise(*other, 8, 8)) for other in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    assert not np.array_equal(rng.batch(0, 0, 50, 10), rng.batch(0, 1, 50, 10))
    weights = [torch.rand(4, generator=rng.generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
