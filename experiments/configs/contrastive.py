"""The recipe that CLMR and TUNe are pre-trained with, of which their named configs are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.clmr_chain import CHAIN
from experiments.configs.named import NamedConfig
from experiments.configs.tagger import MTT
from models.clmr_shapes import SAMPLE_RATE

STORE = f"{MTT}_{SAMPLE_RATE}"  # of MagnaTagATune
SEED, BATCH, EPOCHS = 42, 96, 10_000
# Half of the published batch makes twice the steps of a short training.
DEMO: Mapping[str, Any] = {
    "datamodule": {"base_dir": None, "batch_size_train": 48},
    "trainer": {"max_epochs": 20, "check_val_every_n_epoch": 5},
    "module": {
        "optimizer": {"schedule_mode": "cosine", "warm_up_len": 2, "ramp_down_start": 2, "ramp_down_len": 18},
    },
}


def stored_in(folder: str | None) -> Mapping[str, Any]:
    """Where the tracks are, unless the command line says it; None: the demo corpus."""
    return {"datamodule": {"base_dir": folder}}


# Small trainings are on the demo corpus, those at another rate on another store.
PLACES: Mapping[str, Mapping[str, Any]] = {
    "clmr_16k": stored_in(MTT),
    "clmr_8k": stored_in(f"{MTT}_8000"),
    "demo": stored_in(None),
    "debug": stored_in(None),
}


def pretraining(title: str, **model: Any) -> NamedConfig:
    """Adam at a constant rate without weight decay, two views of a crop of every clip by the whole chain of CLMR.

    Args:
        title: What the network is called.
        model: Settings of the network.
    """
    return NamedConfig(
        f"pre-train {title} without labels: {EPOCHS:,} epochs, {STORE}; or any base_dir=DIR trainer.max_epochs=N",
        {
            "seed": SEED,
            "datamodule": {
                "base_dir": STORE,
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
        by_scale={**PLACES, "demo": DEMO, "debug": {**PLACES["debug"], "trainer": {"check_val_every_n_epoch": 1}}},
        system=True,
    )
