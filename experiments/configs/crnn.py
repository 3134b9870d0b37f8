"""CRNN, a tagger from raw audio (Choi et al., ICASSP 2017; Won et al., SMC 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "CRNN"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "crnn": {
        "demo": {**DEMO, "model": {"channels": [16, 32, 32, 32], "units": 32}},
        "debug": {**DEBUG, "model": {"channels": [8, 8, 8, 8], "units": 16}},
    },
}
PRETRAIN: dict[str, NamedConfig] = applying("crnn", "CRNN")
TRANSFER: dict[str, NamedConfig] = training("crnn", "CRNN", "29-s") | PRETRAIN
