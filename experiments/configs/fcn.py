"""FCN, a tagger from raw audio (Choi et al., ISMIR 2016; Won et al., SMC 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "FCN"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "fcn": {
        "demo": {**DEMO, "model": {"channels": [16, 32, 32, 32, 16]}},
        "debug": {**DEBUG, "model": {"channels": [4, 4, 4, 4, 4]}},
    },
}
PRETRAIN: dict[str, NamedConfig] = applying("fcn", "FCN")
TRANSFER: dict[str, NamedConfig] = training("fcn", "FCN", "29-s") | PRETRAIN
