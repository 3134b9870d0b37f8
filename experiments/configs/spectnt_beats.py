"""SpecTNT for beats and downbeats, alone and with a temporal convolutional network (Hung et al., ICASSP 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.beat_training import attention_recipe, augmentations, sizes, training
from experiments.configs.named import NamedConfig

TITLE = "Beats: SpecTNT"
RECIPE = attention_recipe({"lr": 5e-4, "weight_decay": 5e-3})
STEPS = augmentations(24, 100, {"name": "gain"}, {"name": "polarity"})
SMALL = {"channels": 12, "dim": 48, "blocks": 2, "pools": [[4, 2], [2, 1]]}
FEWER_NOTES = {"frontend_arguments": {"semitone_scale": 1}}
TINY = {"channels": 4, "dim": 16, "blocks": 1, "pools": [[8, 2]]}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "spectnt_beats": sizes({**SMALL, **FEWER_NOTES}, TINY),
    "spectnt_tcn": sizes(SMALL, {**TINY, "tcn_channels": 4, "tcn_blocks": 3}),
}
REPO: Mapping[str, Any] = {
    "channels": 256,
    "dim": 128,
    "ratio": 1.0,
    "pools": [[2, 2], [2, 2], [2, 1]],
    "frontend_arguments": {"n_fft": 512, "hop": 256},
}
PRETRAIN: dict[str, NamedConfig] = {}
TRANSFER: dict[str, NamedConfig] = {
    "spectnt_beats": training(
        "spectnt_beats", "SpecTNT: beats and downbeats from audio, 50 outputs a second", RECIPE, STEPS
    ),
    "spectnt_beats_repo": training(
        "spectnt_beats", "SpecTNT in the geometry of SpecTNT-pytorch, 15.6 a second: for its cost", RECIPE, STEPS, REPO
    ),
    "spectnt_tcn_beats": training(
        "spectnt_tcn", "SpecTNT and a TCN trained together: beats and downbeats from audio", RECIPE, STEPS
    ),
}
