"""CLMR's augmentations as data: Spijkervet and Burgoyne, ISMIR 2021, section 3.2, and the two versions of their code.

Crops are drawn by the sampler. Published weights of the first version were trained with the first chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig

TITLE = "CLMR's augmentations, with any system trained from audio"
Steps = list[Mapping[str, Any]]

POLARITY = {"name": "polarity", "p": 0.8}
NOISE = {"name": "noise", "low": 1e-4, "high": 1e-2, "p": 0.01}
GAIN = {"name": "gain", "low": -20.0, "high": -1.0, "p": 0.3}  # dB
FILTER = {"name": "high_low_pass", "p": 0.8} | {
    "highpass_low": 200.0,  # Hz
    "highpass_high": 1200.0,
    "lowpass_low": 2200.0,
    "lowpass_high": 4000.0,
}
DELAY = {"name": "delay", "low": 200, "high": 450, "step": 50, "p": 0.3}  # ms
PITCH = {"name": "pitch", "low": -700.0, "high": 700.0, "p": 0.6}  # cents

CHAIN: Steps = [
    POLARITY,
    NOISE,
    GAIN,
    FILTER,
    {**DELAY, "factor": 0.5},
    PITCH,
    {"name": "reverb", "low": 0, "high": 99, "p": 0.6},  # %
]
CHAIN_V1: Steps = [
    POLARITY,
    {**GAIN, "step": 1.0},
    FILTER,
    {**DELAY, "factor": 0.2},
    PITCH,
    {"name": "reverb", "low": 1, "high": 100, "p": 0.6},
]


def _instead(steps: Steps) -> Mapping[str, Any]:
    return {"module": {"augmentations": steps, "mixup_alpha": 0.0}, "datamodule": {"roll": {"do": False}}}


PRETRAIN: dict[str, NamedConfig] = {
    "clmr_augmentations_v2": NamedConfig(
        "augmentations of the present code of CLMR, all of them on audio", _instead(CHAIN)
    ),
    "clmr_augmentations_v1": NamedConfig(
        "those of its first version: gain in whole decibels, a weaker delay, no noise", _instead(CHAIN_V1)
    ),
}
TRANSFER: dict[str, NamedConfig] = PRETRAIN
