"""CNN14 of PANNs, a tagger of any sound from raw audio (Kong et al., TASLP 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "CNN14"
SMALL: Mapping[str, Mapping[str, Any]] = {
    "demo": {**DEMO, "model": {"channels": [16, 32, 64, 64, 128, 128]}},
    "debug": {**DEBUG, "model": {"channels": [4, 8, 8, 16, 16, 32]}},
}
SIZES: Mapping[str, Mapping[str, Any]] = dict.fromkeys(("cnn14", "cnn14_16k", "cnn14_8k"), SMALL)
ABOUT = "name AudioSet's 527 classes: inference.checkpoint=FILE, Cnn14_mAP=0.431.pth as PANNs publish it"
PRETRAIN: dict[str, NamedConfig] = {
    **applying("cnn14", "CNN14", "a file as PANNs publish it"),
    "cnn14_audioset_inference": NamedConfig(ABOUT, {"model": {"network": "cnn14"}}, system=True),
}
# The masks and the mixup that PANNs are trained with.
AUGMENTED: Mapping[str, Any] = {
    "datamodule": {
        "masking": {"do": True, "time_masks": 2, "time_mask_param": 64, "freq_masks": 2, "freq_mask_param": 8}
    },
    "module": {"mixup_alpha": 1.0},
}
TRANSFER: dict[str, NamedConfig] = training("cnn14", "CNN14", "10-s", AUGMENTED) | PRETRAIN
