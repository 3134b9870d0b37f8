"""CRNN, a tagger from raw audio (Choi et al., ICASSP 2017; Won et al., SMC 2020)."""

from __future__ import annotations

from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "CRNN"
SIZES = {
    "crnn": {
        "demo": {**DEMO, "model": {"channels": [16, 32, 32, 32], "units": 32}},
        "debug": {**DEBUG, "model": {"channels": [8, 8, 8, 8], "units": 16}},
    },
}
PRETRAIN = applying("crnn", "CRNN")
TRANSFER = training("crnn", "CRNN", "29-s") | PRETRAIN
