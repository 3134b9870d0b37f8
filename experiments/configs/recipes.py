"""How taggers are trained: optimisers, schedule, length, and which epoch is best; to be composed with any system.

Every recipe sets the same keys, so that one laid over another leaves nothing of it. Augmentation is no part of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig

TITLE = "Training recipes, with any system"
Values = Mapping[str, Any]


def recipe(
    epochs: int, optimizer: Values, phases: list[Values] | None = None, monitor: str | None = None, patience: int = 0
) -> dict[str, Any]:
    """The settings of a recipe.

    Args:
        epochs: At most.
        optimizer: What differs from Adam at a constant rate with a decay of all parameters.
        phases: Parts with an optimiser of their own.
        monitor: See `trainer.monitor`.
        patience: Validations without a better one that end the training; 0: no end.
    """
    usual = {
        "name": "adam",
        "adamw": True,
        "momentum": 0.9,
        "nesterov": False,
        "schedule_mode": "constant",
        "plateau_factor": 0.2,
        "plateau_patience": 3,
        "last_lr_value": 0.01,
        "decay_all": True,
    }
    trainer = {"max_epochs": epochs, "precision": "auto", "monitor": monitor, "early_stopping": patience or None}
    module = {"do_swa": False, "phases": list(phases or []), "optimizer": {**usual, **optimizer}}
    return {"datamodule": {"batch_size_train": 16}, "trainer": trainer, "module": module}


# One recipe for corpora of fifty clips and of fifteen thousand: neither its length nor its schedule has to be guessed
# beforehand. Both follow from the metric that the tagger is chosen by, which goes on rising for epochs after the
# validation loss has turned. AdamW needs no rate of its own for each network; 5e-4 is what the attention layers among
# them bear without a warm-up.
AP = recipe(
    200,
    {"name": "adamw", "lr": 5e-4, "weight_decay": 1e-2, "decay_all": False}
    | {"schedule_mode": "plateau", "plateau_patience": 5},
    monitor="metric",
    patience=15,
)

# Adam, then SGD at three rates, each from the best checkpoint so far: Won et al., SMC 2020, and their code.
FIRST = {"optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-4, "epochs": 80}
LATER = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4, "start_from": "best"}
PHASES = [FIRST, *({**LATER, "lr": rate, "epochs": epochs} for rate, epochs in ((1e-3, 20), (1e-4, 20), (1e-5, 80)))]
WON = recipe(200, {"lr": 1e-4, "weight_decay": 1e-4}, PHASES)

PLATEAU = {
    "seed": 42,
    **recipe(
        100,
        {"name": "sgd", "lr": 1e-2, "nesterov": True, "weight_decay": 1e-6, "schedule_mode": "plateau"}
        | {"last_lr_value": 0.0},
        patience=5,
    ),
}

RECIPES: dict[str, NamedConfig] = {
    "recipe_ap": NamedConfig(
        "that of the taggers: AdamW, rate by plateaus of macro AP (or the task's metric), which also ends training", AP
    ),
    "recipe_won": NamedConfig(
        "of Won et al.: 80 epochs of Adam, 120 of SGD at three rates, each from the lowest validation loss", WON
    ),
    "recipe_plateau": NamedConfig(
        "of pytorch-FCN: SGD, rate by plateaus of the validation loss, which also ends training; seed 42", PLATEAU
    ),
    "recipe_augmented": NamedConfig(
        "besides any recipe: mixup, and masks over time and frequency",
        {
            "module": {"mixup_alpha": 0.4},
            "datamodule": {
                "masking": {"do": True}
                | {"time_masks": 2, "time_mask_param": 24, "freq_masks": 2, "freq_mask_param": 8, "p": 0.2},
            },
        },
    ),
}
PRETRAIN: dict[str, NamedConfig] = RECIPES
TRANSFER: dict[str, NamedConfig] = RECIPES
