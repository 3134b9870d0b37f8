"""How much of an experiment is run; to be composed with any system."""

from __future__ import annotations

from experiments.configs.named import NamedConfig

SMALL_NETWORK = {"dim": 192, "depth": 6, "heads": 3}

CONFIGS: dict[str, NamedConfig] = {
    "mini_train": NamedConfig(
        "5 training and 5 validation batches an epoch", {"trainer": {"limit_train_batches": 5, "limit_val_batches": 5}}
    ),
    "demo": NamedConfig(
        "a small network and a short schedule: minutes on two CPU cores",
        {
            "model": SMALL_NETWORK,
            "datamodule": {"batch_size_train": 16},
            "trainer": {"max_epochs": 40, "log_every_n_steps": 5},
            "module": {
                "optimizer": {"lr": 1e-3, "warm_up_len": 3, "ramp_down_start": 20, "ramp_down_len": 20},
            },
            "inference": {"transformer_block": 3, "batch_size": 32},
        },
    ),
    "debug": NamedConfig(
        "a toy network on the tiny demo corpus for two epochs: seconds, to see that everything runs",
        {
            "model": {"dim": 32, "depth": 2, "heads": 2, "s_patchout_f": 2},
            "datamodule": {"demo_size": "tiny", "batch_size_train": 4},
            "trainer": {"max_epochs": 2, "limit_train_batches": 3, "log_every_n_steps": 1},
            "inference": {"transformer_block": 1},
        },
    ),
}
