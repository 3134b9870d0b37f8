"""A temporal convolutional network for beats and downbeats (Böck and Davies, ISMIR 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.beat_training import STRETCH, augmentations, sizes, training
from experiments.configs.named import NamedConfig

TITLE = "Beats: TCN"
# Adam, a fifth of the rate where ten epochs are no better, the end after twenty.
RECIPE: Mapping[str, Any] = {
    "trainer": {
        "max_epochs": 200,
        "precision": "auto",
        "gradient_clip_val": 0.5,
        "monitor": None,
        "early_stopping": 20,
    },
    "module": {
        "do_swa": False,
        "optimizer": {
            "name": "adam",
            "lr": 5e-3,
            "weight_decay": 0.0,
            "schedule_mode": "plateau",
            "plateau_factor": 0.2,
            "plateau_patience": 10,
            "last_lr_value": 0.0,
        },
    },
}
STEPS = [*augmentations(12, 100), {"name": "level", "low": -0.5, "high": 0.5}]
SIZES: Mapping[str, Mapping[str, Any]] = {
    "tcn": sizes({}, {"channels": 4, "blocks": 3}, lr=5e-3, seconds=8.0),
}
# Half the rate of audio and of outputs, as far as a window of 70 ms asks for. An hour and a half on one core for 36
# hours of rendered music, fourteen times each. A learning rate of 3e-3 is too high for so many channels.
FAST_EPOCHS = 14
FAST: Mapping[str, Any] = {
    "trainer": {
        "max_epochs": FAST_EPOCHS,
        "precision": "auto",
        "gradient_clip_val": 1.0,
        "check_val_every_n_epoch": 2,
        "monitor": "metric",
        "early_stopping": None,
    },
    "module": {
        "do_swa": False,
        "optimizer": {
            "name": "adamw",
            "lr": 1e-3,
            "weight_decay": 1e-2,
            "schedule_mode": "cosine",
            "warm_up_len": 1,
            "ramp_down_start": 1,
            "ramp_down_len": FAST_EPOCHS - 1,
            "last_lr_value": 0.0,
        },
    },
}
FAST_STEPS = [
    STRETCH,
    {"name": "pitch_shift", "bands": 6, "p": 0.4},
    {"name": "shuffle_time", "shortest": 5, "longest": 60, "p": 0.25},
    {"name": "level", "low": -0.5, "high": 0.5},
]
FAST_MODEL: Mapping[str, Any] = {
    "frontend_arguments": {"sample_rate": 22_050, "n_fft": 1024, "hop": 441, "high": 10_000.0},
    "kernels": [[3, 3], [1, 8], [3, 3]],
    "channels": 64,
    "sum_rule": True,
}
FAST_DATA: Mapping[str, Any] = {"batch_size_train": 4, "clip_length": 24.0}
PRETRAIN: dict[str, NamedConfig] = {}
TRANSFER: dict[str, NamedConfig] = {
    "tcn_beats": training(
        "tcn",
        "temporal convolutional network: beats and downbeats, 100 outputs a second",
        RECIPE,
        STEPS,
        task="beats_widened",
    ),
    "tcn_beats_fast": training(
        "tcn",
        "the same at 22,050 Hz, 50 outputs a second, wider, with the loss of Beat This: an hour and a half on one core",
        FAST,
        FAST_STEPS,
        FAST_MODEL,
        data=FAST_DATA,
    ),
}
