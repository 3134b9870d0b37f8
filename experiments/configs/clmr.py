"""CLMR's SampleCNN (Spijkervet and Burgoyne, ISMIR 2021): as published, and trained with labels, as its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.contrastive import PLACES, SEED, STORE, pretraining
from experiments.configs.named import NamedConfig
from experiments.configs.recipes import recipe
from experiments.configs.tagger import NONE
from models.clmr_shapes import STRIDES, XL

TITLE = "CLMR's SampleCNN"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "clmr": {
        "demo": {"model": {"channels": [8, 8, 16, 32, 64, 128, 128, 128, 128, 256, 256]}},
        "debug": {"model": {"channels": [8] * 11}},
    },
}


def inferring(prefix: str, title: str, **model: Any) -> dict[str, NamedConfig]:
    """The configs `PREFIX_inference` and `PREFIX_mtt_inference`.

    Args:
        prefix: Of their names.
        title: What the network is called.
        model: Settings of the network.
    """
    tags = {"inference": {"labels": "magnatagatune"}}
    return {
        f"{prefix}_inference": NamedConfig(
            f"apply {title}: inference.checkpoint=FILE, as published or a run of this project", {"model": model}, NONE,
            system=True,
        ),
        f"{prefix}_mtt_inference": NamedConfig(
            f"50 tags of MagnaTagATune by {title}: inference.checkpoint=FILE inference.head=FILE, as published",
            {"model": model, **tags},
            system=True,
        ),
    }  # fmt: skip


def at_rate(rate: int) -> NamedConfig:
    """The strides of another sample rate, to be composed with any config of this network."""
    model = {"strides": list(STRIDES[rate]), "frontend_arguments": {"sample_rate": rate}}
    return NamedConfig(f"CLMR's SampleCNN for audio at {rate / 1000:g} kHz, by other strides", {"model": model})


# The supervised baseline of CLMR: one random crop of a clip, the rate lowered where the validation loss stands still.
# Its batch is that of the pre-training. When training ends is a choice of ours; the original would never.
SUPERVISED = recipe(
    200,
    {"name": "sgd", "lr": 3e-4, "nesterov": True, "weight_decay": 1e-6, "schedule_mode": "plateau"}
    | {"plateau_factor": 0.2, "plateau_patience": 5, "last_lr_value": 0.0},
    patience=20,
)
INFERENCE = inferring("clmr", "CLMR's SampleCNN", network="clmr")
SHAPES = {
    "clmr_16k": at_rate(16_000),
    "clmr_8k": at_rate(8_000),
    "clmr_xl": NamedConfig("CLMR's SampleCNN with 25 million parameters", {"model": {"channels": list(XL)}}),
}
PRETRAIN: dict[str, NamedConfig] = {
    "clmr_pretrain": pretraining("CLMR's SampleCNN", network="clmr"),
    **INFERENCE,
    **SHAPES,
}
TRANSFER: dict[str, NamedConfig] = {
    **INFERENCE,
    "samplecnn_supervised_mtt": NamedConfig(
        f"CLMR's supervised baseline: MagnaTagATune, with untagged clips, audio store in {STORE}",
        {
            "seed": SEED,
            **SUPERVISED,
            "model": {"network": "clmr", "dropout": 0.5},
            "module": {"mixup_alpha": 0.0, **SUPERVISED["module"]},
            "datamodule": {
                "base_dir": STORE,
                "task": "tagging",
                "batch_size_train": 48,
                "batch_size_test": 16,
                "masking": {"do": False},
            },
        },
        by_scale=PLACES,
        system=True,
    ),
    **SHAPES,
}
