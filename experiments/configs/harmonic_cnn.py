"""Harmonic CNN, a tagger from raw audio whose front end is learned (Won et al., ICASSP 2020)."""

from __future__ import annotations

from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "Harmonic CNN"
SIZES = {
    "harmonic_cnn": {
        "demo": {**DEMO, "model": {"channels": [16, 32]}},
        "debug": {**DEBUG, "model": {"channels": [4, 4]}},
    },
}
PRETRAIN = applying("harmonic_cnn", TITLE)
TRANSFER = training("harmonic_cnn", TITLE, "5-s") | PRETRAIN
