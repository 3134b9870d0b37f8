"""Evaluation of a frozen encoder as CLMR and TUNe have it (Spijkervet and Burgoyne, ISMIR 2021): a head on its output.

Encoders of any network and window are evaluated so; the network follows from the weights. MagnaTagATune is split as
there, with untagged clips among the 18,706, 1,825 and 5,329. What deviates from the published code: the weights that
were best in validation are tested, not those ten epochs later. `_all_windows` trains on all windows of a clip as CLMR's
first version did, and chooses by the metric of whole validation clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.contrastive import STORE
from experiments.configs.named import NamedConfig
from experiments.configs.recipes import recipe
from models.clmr_shapes import SAMPLE_RATE

TITLE = "A head on a frozen encoder"
HIDDEN = 512
EPOCHS, PATIENCE = 200, 10

# Adam with coupled decay; a tenth of the rate after five epochs without a better validation, the end after ten.
RECIPE = recipe(
    EPOCHS,
    {"lr": 1e-3, "weight_decay": 1e-6, "schedule_mode": "plateau"}
    | {"plateau_factor": 0.1, "plateau_patience": 5, "last_lr_value": 0.0},
    patience=PATIENCE,
)
BATCH = 48
SMALL: Mapping[str, Any] = {
    "datamodule": {"base_dir": None},
    "trainer": {"check_val_every_n_epoch": 1},
    "module": {"optimizer": RECIPE["module"]["optimizer"]},
}
SCALES: Mapping[str, Mapping[str, Any]] = {
    "demo": {**SMALL, "trainer": {"max_epochs": 60, "check_val_every_n_epoch": 1}},
    "debug": SMALL,
}
HEADS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "linear": ("linear head", {}),
    "mlp": (f"MLP of {HIDDEN} units", {"hidden": HIDDEN}),
}
FITTING: Mapping[str, Mapping[str, Any]] = {
    "linear": {},
    "mlp": {
        "networks": ("clmr", "tune", "tune_hybrid"),
        "otherwise": "give model.checkpoint=FILE of one of these, or take clmr_linear, which is for any",
    },
}
CORPORA: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "": ("datamodule.base_dir=DIR", {}),
    "_mtt": (
        f"MagnaTagATune, also untagged clips: {STORE}",
        {"base_dir": STORE, "task": "tagging"},
    ),
    "_gtzan": (
        f"GTZAN, fault-filtered: data/gtzan/audio_{SAMPLE_RATE}",
        {"base_dir": f"data/gtzan/audio_{SAMPLE_RATE}", "task": "genre"},
    ),
}
TRAINED_ON: Mapping[str, tuple[str, str, str | None]] = {
    "": ("one crop a clip", "crop", None),
    "_all_windows": ("all windows", "windows", "metric"),
}


def _config(head: str, corpus: str, trained_on: str) -> NamedConfig:
    (of_head, model), (where, data) = HEADS[head], CORPORA[corpus]
    windows, encode, monitor = TRAINED_ON[trained_on]
    return NamedConfig(
        f"{of_head} on a frozen model.checkpoint, {windows}; {where}",
        {
            "datamodule": {"batch_size_train": BATCH, "masking": {"do": False}, **data},
            "model": {"checkpoint_discard_head": True, **model},
            "trainer": {**RECIPE["trainer"], "precision": "32-true", "monitor": monitor},
            "module": {"mixup_alpha": 0.0, "freeze": "all", "encode": encode, **RECIPE["module"]},
            "inference": {"batch_size": 256},
        },
        by_scale=SCALES,
        system=True,
        **FITTING[head],
    )


TRANSFER: dict[str, NamedConfig] = {
    f"clmr_{head}{corpus}{trained_on}": _config(head, corpus, trained_on)
    for corpus in CORPORA
    for head in HEADS
    for trained_on in TRAINED_ON
}
