"""Musicnn, a tagger from 3 s of raw audio (Pons et al., ISMIR 2018; Won et al., SMC 2020)."""

from __future__ import annotations

from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "Musicnn"
SIZES = {
    "musicnn": {
        "demo": {**DEMO, "model": {"timbral": 24, "temporal": 8, "middle": 32, "hidden": 64}},
        "debug": {**DEBUG, "model": {"timbral": 4, "temporal": 4, "middle": 4, "hidden": 8}},
    },
}
PRETRAIN = applying("musicnn", "Musicnn")
TRANSFER = training("musicnn", "Musicnn", "3-s") | PRETRAIN
