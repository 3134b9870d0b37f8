"""FCN, a tagger from raw audio (Choi et al., ISMIR 2016), with the recipe of Won et al., SMC 2020."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig

TITLE = "FCN"
NETWORK = "fcn"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "demo": {
        "model": {"channels": [16, 32, 32, 32, 16]},
        "trainer": {"max_epochs": 10, "check_val_every_n_epoch": 1},
        "module": {
            "phases": [],
            "optimizer": {"name": "adam", "lr": 3e-3, "schedule_mode": "constant"},
        },
    },
    "debug": {"model": {"channels": [4, 4, 4, 4, 4]}, "module": {"phases": []}},
}

# Adam, then SGD at three rates, each from the best checkpoint so far.
ADAM = {"optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-4, "epochs": 80}
SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4, "start_from": "best"}
PHASES = [ADAM, *({**SGD, "lr": rate, "epochs": epochs} for rate, epochs in ((1e-3, 20), (1e-4, 20), (1e-5, 80)))]
RECIPE: Mapping[str, Any] = {
    "model": {"network": NETWORK},
    "datamodule": {"batch_size_train": 16, "batch_size_test": 16, "masking": {"do": False}},
    "trainer": {"max_epochs": 200},
    "module": {"mixup_alpha": 0.0, "do_swa": False, "phases": PHASES},
}
MTT = {"base_dir": "data/mtt/audio", "groundtruth": "data/mtt/audio/tracks_public.csv", "task": "tagging"}

TRANSFER: dict[str, NamedConfig] = {
    "fcn": NamedConfig("tag 29-s windows of raw audio: 200 epochs, Adam and then SGD", RECIPE, system=True),
    "fcn_mtt": NamedConfig(
        "the same on MagnaTagATune, without untagged clips: audio store in data/mtt/audio",
        {**RECIPE, "datamodule": {**RECIPE["datamodule"], **MTT}},
        system=True,
    ),
    "fcn_mtt_inference": NamedConfig(
        "apply an FCN: inference.checkpoint=FILE, also best_model.pth as Won et al. publish it",
        {"model": {"network": NETWORK}},
        system=True,
    ),
}
PRETRAIN: dict[str, NamedConfig] = {"fcn_mtt_inference": TRANSFER["fcn_mtt_inference"]}
