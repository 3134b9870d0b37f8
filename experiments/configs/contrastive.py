"""The recipe that CLMR and TUNe are pre-trained with, of which their named configs are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.clmr_chain import CHAIN
from experiments.configs.named import NamedConfig
from experiments.configs.tagger import MTT

RATE = 22_050
SEED, BATCH, EPOCHS = 42, 96, 10_000
# Small trainings are on the demo corpus, unless the command line names another.
DEMO: Mapping[str, Any] = {"datamodule": {"base_dir": None}}
DEBUG: Mapping[str, Any] = {**DEMO, "trainer": {"check_val_every_n_epoch": 1}}
# Half of the published batch makes twice the steps of a short training.
SCALES: Mapping[str, Mapping[str, Any]] = {
    "demo": {
        "datamodule": {"batch_size_train": 48},
        "trainer": {"max_epochs": 20, "check_val_every_n_epoch": 5},
        "module": {
            "optimizer": {"schedule_mode": "cosine", "warm_up_len": 2, "ramp_down_start": 2, "ramp_down_len": 18},
        },
    },
}


def pretraining(title: str, **model: Any) -> NamedConfig:
    """Adam at a constant rate without weight decay, two views of a crop of every clip by the whole chain of CLMR.

    Args:
        title: What the network is called.
        model: Settings of the network.
    """
    return NamedConfig(
        f"pre-train {title} without labels, as published: MagnaTagATune, audio store in {MTT}_{RATE}, or base_dir=ANY",
        {
            "seed": SEED,
            "datamodule": {
                "base_dir": f"{MTT}_{RATE}",
                "batch_size_train": BATCH,
                "batch_size_test": BATCH,
                "masking": {"do": False},
            },
            "model": model,
            "trainer": {"max_epochs": EPOCHS, "check_val_every_n_epoch": 10},
            "module": {
                "objective": "contrastive",
                "augmentations": [dict(step) for step in CHAIN],
                "mixup_alpha": 0.0,
                "do_swa": False,
                "optimizer": {"name": "adam", "lr": 3e-4, "weight_decay": 0.0, "schedule_mode": "constant"},
            },
            "contrastive": {"temperature": 0.5, "size": 64},
        },
        by_scale=SCALES,
        system=True,
    )
