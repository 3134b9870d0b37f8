"""SpecTNT, a tagger of transformers over frequency and time from raw audio (Lu et al., ISMIR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
# AdamW as in the paper, with a warm-up, half a cosine and a limit to the gradient, as transformers need them.
RECIPE: Mapping[str, Any] = {
    "trainer": {"max_epochs": EPOCHS, "gradient_clip_val": 1.0},
    "module": {
        "mixup_alpha": 0.0,
        "do_swa": False,
        "phases": [],
        "optimizer": {
            "name": "adamw",
            "lr": 5e-4,
            "weight_decay": 5e-3,
            "decay_all": False,
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
TRANSFER: dict[str, NamedConfig] = {
    name: replace(config, values={**config.values, **RECIPE})
    for name, config in training("spectnt", "SpecTNT", "4.5-s").items()
} | PRETRAIN
