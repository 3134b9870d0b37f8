"""SpecTNT, a tagger of transformers over frequency and time from raw audio (Lu et al., ISMIR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, training

TITLE = "SpecTNT"
SMALL = {"channels": 32, "dim": 32, "blocks": 2}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "spectnt": {
        "demo": {**DEMO, "model": SMALL},
        "debug": {**DEBUG, "model": {"channels": 16, "dim": 16, "blocks": 1}},
    },
}
EPOCHS = 100
# AdamW as in the paper, with a warm-up, half a cosine and a limit to the gradient, as transformers need them. The best
# epoch is chosen as of any tagger, but the schedule runs to its end.
RECIPE: Mapping[str, Any] = {
    "trainer": {"max_epochs": EPOCHS, "gradient_clip_val": 1.0, "early_stopping": None},
    "module": {
        "optimizer": {
            "weight_decay": 5e-3,
            "schedule_mode": "cosine",
            "warm_up_len": 5,
            "ramp_down_start": 5,
            "ramp_down_len": EPOCHS - 5,
            "last_lr_value": 0.0,
        },
    },
}
PRETRAIN: dict[str, NamedConfig] = {
    "spectnt_mtt_inference": NamedConfig(
        "apply SpecTNT: inference.checkpoint=FILE, of a training of this project",
        {"model": {"network": "spectnt"}},
        system=True,
    )
}
TRANSFER: dict[str, NamedConfig] = training("spectnt", "SpecTNT", "4.5-s", RECIPE) | PRETRAIN
