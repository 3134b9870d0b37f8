"""Self-attention behind convolutions, a tagger from raw audio (Won et al., arXiv 1906.04972)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "Self-attention CNN"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "self_attention": {
        "demo": {**DEMO, "model": {"channels": [8, 16, 32, 32, 32, 32, 32], "heads": 4}},
        "debug": {**DEBUG, "model": {"channels": [4, 8, 8, 8, 8, 8, 16], "heads": 4}},
    },
}
PRETRAIN: dict[str, NamedConfig] = applying("self_attention", TITLE)
TRANSFER: dict[str, NamedConfig] = training("self_attention", TITLE, "15-s") | PRETRAIN
