"""Short-chunk CNN and ResNet, taggers from 3.7 s of raw audio (Won et al., SMC 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "Short-chunk CNN and ResNet"
NAMES = {"short_chunk": "short-chunk CNN", "short_chunk_res": "short-chunk ResNet"}
SIZES: Mapping[str, Mapping[str, Any]] = {
    network: {
        "demo": {**DEMO, "model": {"channels": [16, 16, 32, 32, 32, 32, 64]}},
        "debug": {**DEBUG, "model": {"channels": [4, 4, 4, 4, 4, 4, 4]}},
    }
    for network in NAMES
}
PRETRAIN: dict[str, NamedConfig] = {}
TRANSFER: dict[str, NamedConfig] = {}
for network, title in NAMES.items():
    PRETRAIN |= applying(network, title)
    TRANSFER |= training(network, title, "3.7-s")
TRANSFER |= PRETRAIN
