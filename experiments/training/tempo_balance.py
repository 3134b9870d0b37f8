"""Which tempi a training shows how often, by `datamodule.sampler.balance`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.examples import Examples
from datasets.targets import Targets
from datasets.tempo_balance import SpreadTargets, SpreadTempi, bin_weights
from experiments.errors import UserError

BALANCES = ("bins", "stretch", "typical")


@dataclass(frozen=True)
class TempoBalance:
    """How tracks of known tempo are drawn.

    Attributes:
        weights: Of the tracks, `[tracks]`.
        targets: Of the tracks; they say at which speed a crop is played.
    """

    weights: np.ndarray
    targets: Targets


def tempo_balance(train: Examples, how: str, speeds: tuple[float, float] | None) -> TempoBalance | None:
    """Balance a training over tempi; None for other ways to draw tracks.

    Args:
        train: Of the training split.
        how: `datamodule.sampler.balance`.
        speeds: Between which crops are played faster or slower; None: as they are.

    Raises:
        UserError: The targets are no tempi, or tempi are to be spread by speeds and there are none.
    """
    if how not in BALANCES:
        return None
    setting = f"datamodule.sampler.balance={how}"
    tempi = train.targets if train.clip_level else None
    if tempi is None or tempi.ndim != 1 or not np.issubdtype(tempi.dtype, np.floating):
        raise UserError(f"{setting} is for tempo, and the task of this training is another: set it to labels or tracks")
    if how == "bins":
        return TempoBalance(bin_weights(tempi), train.crops)
    if speeds is None:
        raise UserError(
            f"{setting} plays crops at other speeds: add "
            "{'name': 'time_stretch', 'low': 0.8, 'high': 1.25} to module.augmentations"
        )
    spread = SpreadTempi(tempi, *speeds, typical=how == "typical")
    return TempoBalance(spread.weights, SpreadTargets(train.crops, spread))
