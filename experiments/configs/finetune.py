"""Fine-tuning: a trained network on another task, from audio."""

from __future__ import annotations

from experiments.configs.named import NamedConfig
from experiments.configs.recipes import recipe

TITLE = "Fine-tuning a trained network"

# The recipe of the taggers at a rate that leaves what was learned in place: the new head alone starts from nothing.
RECIPE = recipe(
    50,
    {"name": "adamw", "lr": 1e-4, "weight_decay": 1e-2, "decay_all": False}
    | {"schedule_mode": "plateau", "plateau_patience": 3},
    monitor="metric",
    patience=10,
)
TRANSFER: dict[str, NamedConfig] = {
    "finetune": NamedConfig(
        "a trained network on another task: model.checkpoint=runs/KEY datamodule.task=TASK, module.freeze=all or 0",
        {
            "datamodule": {"batch_size_train": 16, "batch_size_test": 16, "masking": {"do": False}},
            "model": {"checkpoint_discard_head": True},
            "trainer": RECIPE["trainer"],
            "module": {"mixup_alpha": 0.0, **RECIPE["module"]},
        },
        system=True,
    ),
}
