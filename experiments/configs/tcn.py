"""A temporal convolutional network for beats and downbeats (Böck and Davies, ISMIR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.beat_training import augmentations, sizes, training
from experiments.configs.named import NamedConfig

TITLE = "Beats: TCN"
# Adam, a fifth of the rate where ten epochs are no better, the end after twenty.
RECIPE: Mapping[str, Any] = {
    "trainer": {
        "max_epochs": 200,
        "precision": "auto",
        "gradient_clip_val": 0.5,
        "monitor": None,
        "early_stopping": 20,
    },
    "module": {
        "do_swa": False,
        "optimizer": {
            "name": "adam",
            "lr": 5e-3,
            "weight_decay": 0.0,
            "schedule_mode": "plateau",
            "plateau_factor": 0.2,
            "plateau_patience": 10,
            "last_lr_value": 0.0,
        },
    },
}
STEPS = [*augmentations(12, 100), {"name": "level", "low": -0.5, "high": 0.5}]
SIZES: Mapping[str, Mapping[str, Any]] = {
    "tcn": sizes({}, {"channels": 4, "blocks": 3}, lr=5e-3),
}
PRETRAIN: dict[str, NamedConfig] = {}
TRANSFER: dict[str, NamedConfig] = {
    "tcn_beats": training(
        "tcn",
        "temporal convolutional network: beats and downbeats, 100 outputs a second",
        RECIPE,
        STEPS,
        task="beats_widened",
    ),
}
