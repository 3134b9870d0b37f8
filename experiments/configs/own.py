"""A network of one's own, trained from audio."""

from __future__ import annotations

from experiments.configs.named import NamedConfig

TITLE = "Networks of your own"

TRANSFER: dict[str, NamedConfig] = {
    "mine": NamedConfig(
        "a network of your own from audio: model.network=package.module:Class datamodule.base_dir=AUDIO_DIR",
        {
            "datamodule": {"batch_size_train": 16, "batch_size_test": 16},
            "trainer": {"precision": "auto"},
            "module": {"optimizer": {"lr": 1e-3}},
        },
        system=True,
    ),
}
PRETRAIN: dict[str, NamedConfig] = TRANSFER
