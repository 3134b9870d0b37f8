"""A training balanced over tempi: how tracks are drawn, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.examples import Examples
from datasets.tempo_balance import SpreadTargets
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.training.loading import SplitLoaders
from experiments.training.tempo_balance import tempo_balance

TEMPI = np.array([100.0] * 30 + [180.0] * 6, np.float32)


def examples(targets: np.ndarray, kind: str = "class") -> Examples:
    names = tuple(map(str, range(len(targets))))
    return Examples(names, names, targets, kind)


def loaders(balance: str, speeds: tuple[float, float] | None = None, **sampler: object) -> SplitLoaders:
    settings = DatamoduleSettings(sampler={"balance": balance, **sampler})
    return SplitLoaders(settings, None, {"train": examples(TEMPI)}, None, 0, speeds=speeds)


def test_bins_are_drawn_alike_and_an_epoch_stays_as_long():
    made = loaders("bins")
    assert made.weights[:30].sum() == pytest.approx(made.weights[30:].sum())
    assert made._draws == len(TEMPI)
    assert loaders("bins", epoch_len=10)._draws == 10


def test_stretch_draws_speeds_too():
    made = loaders("stretch", (0.8, 1.25))
    assert isinstance(made.tempi.targets, SpreadTargets)
    rates = [made.tempi.targets.draw_rate(0, 0.8, 1.25, np.random.default_rng(seed)) for seed in range(50)]
    assert 0.8 <= min(rates) < 0.9 < 1.1 < max(rates) <= 1.25


def test_usual_and_equal_weights_know_nothing_of_tempi():
    assert loaders("tracks").tempi is None
    assert loaders("tracks").weights.tolist() == [1.0] * len(TEMPI)
    assert loaders("labels").weights[-1] > loaders("labels").weights[0]


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(UserError, match=r"add .*time_stretch.* to module\.augmentations"):
        tempo_balance(examples(TEMPI), "stretch", None)
    for targets, kind in ((np.arange(5), "class"), (np.ones((5, 2), np.float32), "values")):
        with pytest.raises(UserError, match="balance=bins is for tempo"):
            tempo_balance(examples(targets, kind), "bins", None)
