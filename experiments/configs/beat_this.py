"""Beat This for beats and downbeats (Foscarin et al., ISMIR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.beat_training import attention_recipe, augmentations, sizes, training
from experiments.configs.named import NamedConfig

TITLE = "Beats: Beat This"
RECIPE = attention_recipe({"lr": 8e-4, "weight_decay": 1e-2}, accumulated=8)
STEPS = [*augmentations(12, 50), {"name": "level"}]
SIZES: Mapping[str, Mapping[str, Any]] = {
    "beat_this": sizes({"dim": 64, "blocks": 2, "partial": False}, {"dim": 32, "blocks": 1, "partial": False}),
}
PRETRAIN: dict[str, NamedConfig] = {}
TRANSFER: dict[str, NamedConfig] = {
    "beat_this": training("beat_this", "Beat This in its large published size, 20 million parameters", RECIPE, STEPS),
    "beat_this_small": training(
        "beat_this", "Beat This in its small published size, 2 million parameters", RECIPE, STEPS, {"dim": 128}
    ),
}
