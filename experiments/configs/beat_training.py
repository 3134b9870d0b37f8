"""What the named configs of networks for beats share: recipe, augmentations, sizes under `demo` and `debug`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from experiments.configs.named import NamedConfig

Values = Mapping[str, Any]
NONE: Values = MappingProxyType({})
EPOCHS = 100
# Speed, pitch, order and bands, none of which moves a beat from its annotation (Foscarin et al., ISMIR 2024).
STRETCH: Values = {"name": "time_stretch", "low": 0.8, "high": 1.25}


def augmentations(bands_an_octave: int, frames_a_second: int, *waveform: Values) -> list[Values]:
    """Steps of `module.augmentations`.

    Args:
        bands_an_octave: Of the front end; pitch moves by half of one at most.
        frames_a_second: Of the front end; stretches of up to two seconds are shuffled.
        waveform: Steps before the front end.
    """
    pitch = {"name": "pitch_shift", "bands": bands_an_octave // 2}
    order = {"name": "shuffle_time", "shortest": frames_a_second // 10, "longest": 2 * frames_a_second}
    return [*waveform, STRETCH, pitch, order, {"name": "drop_bands"}]


def attention_recipe(optimizer: Values, accumulated: int = 1) -> dict[str, Any]:
    """AdamW with a warm-up and half a cosine to zero; the epoch of the best score is kept.

    Args:
        optimizer: Rate and decay.
        accumulated: Batches that make one step.
    """
    return {
        "trainer": {
            "max_epochs": EPOCHS,
            "precision": "auto",
            "gradient_clip_val": 1.0,
            "accumulate_grad_batches": accumulated,
            "monitor": "metric",
            "early_stopping": None,
        },
        "module": {
            "do_swa": False,
            "ema_decay": 0.999,
            "optimizer": {
                "name": "adamw",
                "decay_all": False,
                "schedule_mode": "cosine",
                "warm_up_len": 3,
                "ramp_down_start": 3,
                "ramp_down_len": EPOCHS - 3,
                "last_lr_value": 0.0,
                **optimizer,
            },
        },
    }


def training(
    network: str,
    description: str,
    recipe: Values,
    steps: list[Values],
    model: Values | None = None,
    task: str = "beats",
    data: Values = NONE,
) -> NamedConfig:
    """A system that is trained to find beats.

    Args:
        network: Its name.
        description: One line.
        recipe: Settings of `trainer` and `module`.
        steps: Augmentations.
        model: Settings of the network.
        task: Its form.
        data: Settings of the data module.
    """
    values = {
        "trainer": recipe["trainer"],
        "module": {**recipe["module"], "augmentations": steps},
        "datamodule": {"task": task, "batch_size_train": 8, "batch_size_test": 8, **data},
        "model": {"network": network, **(model or {})},
    }
    return NamedConfig(description, values, system=True)


def sizes(demo: Values, debug: Values, lr: float = 3e-3, seconds: float = 4.0) -> dict[str, Values]:
    """Of a network under the scales: short crops, few epochs, and no average over more steps than there are.

    Args:
        demo: Settings of the network.
        debug: The same of the smallest one.
        lr: Learning rate under `demo`.
        seconds: Of a crop under `debug`.
    """
    short = {"trainer": {"accumulate_grad_batches": 1}, "module": {"ema_decay": None}}
    demo_epochs = {"max_epochs": 40, "check_val_every_n_epoch": 5, "early_stopping": None}
    schedule = {"lr": lr, "schedule_mode": "cosine", "warm_up_len": 2, "ramp_down_start": 2, "ramp_down_len": 38}
    return {
        "demo": {
            "trainer": {**short["trainer"], **demo_epochs},
            "module": {**short["module"], "optimizer": schedule},
            "datamodule": {"clip_length": 6.0, "batch_size_train": 8},
            "model": demo,
        },
        "debug": {**short, "datamodule": {"clip_length": seconds}, "model": debug},
    }
