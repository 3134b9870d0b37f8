"""SampleCNN and its residual variant, taggers of samples (Lee et al., SMC 2017; Kim et al., ICASSP 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "SampleCNN"
TITLES = {"samplecnn": "SampleCNN", "samplecnn_se": "SampleCNN with squeeze and excitation"}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "demo": {**DEMO, "model": {"channels": [16, 16, 16, 32, 32, 32, 32, 32, 32, 64, 64]}},
    "debug": {**DEBUG, "model": {"channels": [4] * 11}},
}
SIZES = dict.fromkeys(TITLES, SMALL)
PRETRAIN: dict[str, NamedConfig] = {
    config: about for network, title in TITLES.items() for config, about in applying(network, title).items()
}
TRANSFER: dict[str, NamedConfig] = {
    config: about for network, title in TITLES.items() for config, about in training(network, title, "3.7-s").items()
} | PRETRAIN
