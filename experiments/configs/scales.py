"""How much of an experiment is run; to be composed with any system."""

from __future__ import annotations

from experiments.configs.named import NamedConfig

CONFIGS: dict[str, NamedConfig] = {
    "mini_train": NamedConfig(
        "5 training and 5 validation batches an epoch", {"trainer": {"limit_train_batches": 5, "limit_val_batches": 5}}
    ),
    "demo": NamedConfig(
        "a small network, a short schedule, tags and genre as classes: minutes on two CPU cores",
        {
            "model": {"dim": 128, "depth": 4, "heads": 4},
            "datamodule": {
                "batch_size_train": 16,
                "columns": {"tags": ["tags", "genre"]},
                "masking": {"do": False},
            },
            "trainer": {"max_epochs": 30, "check_val_every_n_epoch": 5},
            "module": {
                "mixup_alpha": 0.0,
                "optimizer": {"lr": 1e-3, "warm_up_len": 3, "ramp_down_start": 18, "ramp_down_len": 12},
            },
            "inference": {"transformer_block": 2, "batch_size": 32},
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
    "random_network": NamedConfig(
        "for extraction, after a system: its network with random weights, the row that a trained one must beat",
        {"model": {"pretrained": None}, "inference": {"random_weights": True}},
    ),
    "ddp": NamedConfig(
        "a process for each GPU of this machine; under torchrun and srun, the processes that they started",
        {"trainer": {"devices": "auto"}},
    ),
}
