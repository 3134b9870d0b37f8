"""Short-chunk CNN and ResNet, taggers from 3.7 s of raw audio (Won et al., SMC 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "Short-chunk CNN and ResNet"
NAMES = {"short_chunk": "short-chunk CNN", "short_chunk_res": "short-chunk ResNet"}

# What `make demo` trains; benchmarks/README.md has its scores. The rate rises and falls once over the training, so
# both lengths change with the number of epochs.
EPOCHS, WARM_UP = 60, 9
ONE_CYCLE: Mapping[str, Any] = {
    "trainer": {"max_epochs": EPOCHS, "check_val_every_n_epoch": 10},
    "module": {
        "phases": [],
        "mixup_alpha": 0.4,
        "optimizer": {
            "name": "adamw",
            "lr": 4e-3,
            "weight_decay": 1e-4,
            "nesterov": False,
            "schedule_mode": "cosine",
            "warm_up_len": WARM_UP,
            "ramp_down_start": WARM_UP,
            "ramp_down_len": EPOCHS - WARM_UP,
            "last_lr_value": 1e-3,
        },
    },
}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "short_chunk": {
        "demo": {**ONE_CYCLE, "model": {"channels": [8, 16, 32, 64, 64, 128, 128]}},
        "debug": {**DEBUG, "model": {"channels": [4, 4, 4, 4, 4, 4, 4]}},
    },
    "short_chunk_res": {
        "demo": {**DEMO, "model": {"channels": [16, 16, 32, 32, 32, 32, 64]}},
        "debug": {**DEBUG, "model": {"channels": [4, 4, 4, 4, 4, 4, 4]}},
    },
}
PRETRAIN: dict[str, NamedConfig] = {}
TRANSFER: dict[str, NamedConfig] = {}
for network, title in NAMES.items():
    PRETRAIN |= applying(network, title)
    TRANSFER |= training(network, title, "3.7-s")
TRANSFER |= PRETRAIN
