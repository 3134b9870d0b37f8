"""How much of an experiment is run; to be composed with any system, which may bring sizes of its own as `SIZES`."""

from __future__ import annotations

from experiments.configs.named import ANY, NamedConfig

TITLE = "Scales and more, with any system"

SCALES: dict[str, NamedConfig] = {
    "mini_train": NamedConfig(
        "5 training and 5 validation batches an epoch", {"trainer": {"limit_train_batches": 5, "limit_val_batches": 5}}
    ),
    "demo": NamedConfig(
        "small sizes, each system with its own, and a short schedule: seconds to minutes on two CPU cores",
        {"trainer": {"max_epochs": 30}, "module": {"optimizer": {"lr": 1e-3}}},
        {
            ANY: {
                "datamodule": {
                    "batch_size_train": 16,
                    "columns": {"tags": ["tags", "genre"]},
                    "masking": {"do": False},
                },
                "trainer": {"check_val_every_n_epoch": 5},
                "module": {
                    "mixup_alpha": 0.0,
                    "optimizer": {"warm_up_len": 3, "ramp_down_start": 18, "ramp_down_len": 12},
                },
                "inference": {"batch_size": 32},
            },
            None: {"datamodule": {"batch_size_train": 32}},
        },
    ),
    "debug": NamedConfig(
        "the smallest sizes, each system with its own, on the tiny demo corpus: seconds, to see that everything runs",
        {
            "datamodule": {"demo_size": "tiny", "batch_size_train": 4},
            "trainer": {
                "max_epochs": 2,
                "limit_train_batches": 3,
                "check_val_every_n_epoch": 1,
                "log_every_n_steps": 1,
            },
        },
        {None: {"probe": {"hidden": 16}}},
    ),
    "ddp": NamedConfig(
        "a process for each GPU of this machine; under torchrun and srun, the processes that they started",
        {"trainer": {"devices": "auto"}},
    ),
}

PRETRAIN: dict[str, NamedConfig] = {
    **SCALES,
    "random_network": NamedConfig(
        "for extraction: the network of a system with random weights, a baseline for the trained one",
        {"model": {"pretrained": None}, "inference": {"random_weights": True}},
    ),
}
TRANSFER: dict[str, NamedConfig] = SCALES
