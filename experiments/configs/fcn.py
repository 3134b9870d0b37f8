"""FCN, a tagger from raw audio (Choi et al., ISMIR 2016; Won et al., SMC 2020)."""

from __future__ import annotations

from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "FCN"
SIZES = {
    "fcn": {
        "demo": {**DEMO, "model": {"channels": [16, 32, 32, 32, 16]}},
        "debug": {**DEBUG, "model": {"channels": [4, 4, 4, 4, 4]}},
    },
}
PRETRAIN = applying("fcn", "FCN")
TRANSFER = training("fcn", "FCN", "29-s") | PRETRAIN
