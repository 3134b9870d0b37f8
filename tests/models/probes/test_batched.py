"""A grid of probes trained on arrays, with a loss and a score of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.probes import apply
from models.probes.batched import batches_of_probes, train_batch
from models.probes.grids import points

GRID = points(
    hidden=[None, 8], batch_size=[16], learning_rate=[1e-2], dropout=[0.0, 0.5], patience=[4], max_steps=[200]
)


def data(n: int, seed: int, blocks: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of 6 values a block whose last block tells the class, one of three."""
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(n, 6 * blocks)).astype(np.float32), random.integers(0, 3, n)
    x[np.arange(n), 6 * (blocks - 1) + y] += 3
    return x, y


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_probe_has_the_score_and_loss_that_its_weights_give(blocks):
    train, valid = data(200, 0, blocks), data(60, 1, blocks)
    references = torch.from_numpy(valid[1])

    def accuracy(outputs: torch.Tensor) -> torch.Tensor:
        return (outputs.argmax(-1) == references).double().mean(1)

    found = {}
    for batch in batches_of_probes(GRID, 6, 3, blocks=blocks):
        configs = {number: GRID[number] for number in batch}
        found |= train_batch(configs, train, valid, 3, F.cross_entropy, accuracy, seed=2, blocks=blocks)
    assert [found[number].config for number in range(len(GRID))] == list(GRID)
    for probe in found.values():
        outputs = apply.outputs(probe.weights, apply.scaled(valid[0], probe.mean, probe.scale))
        assert (outputs.argmax(1) == valid[1]).mean() == pytest.approx(probe.value)
        assert float(F.cross_entropy(torch.from_numpy(outputs), references)) == pytest.approx(probe.loss, rel=1e-4)
        assert probe.value == max(value for _, value in probe.curve) > 0.7
        assert dict(probe.curve)[probe.best_step] == probe.value
        assert probe.failure is None


def test_a_probe_that_diverges_says_so_and_the_others_go_on():
    configs = dict(enumerate(points(learning_rate=[1e-2, 1e38], patience=[2], max_steps=[64])))
    found = train_batch(configs, data(40, 0), data(20, 1), 3, F.cross_entropy, lambda outputs: outputs.sum((1, 2)))
    assert found[0].failure is None
    assert "outputs not finite at step" in found[1].failure
    assert "lower the learning rate" in found[1].failure
    assert not found[1].weights
