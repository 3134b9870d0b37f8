"""LARS for contrastive pre-training with large batches, as SimCLR (ICML 2020) and CLMR's code have it.

The rate grows with the tracks of a step: with B of them, over all processes, `module.optimizer.lr` is 0.3 B / 256. With
E epochs in `trainer.max_epochs`, `module.optimizer.ramp_down_len` is E, so that the rate ends at 0.
"""

from __future__ import annotations

from experiments.configs.named import NamedConfig

TITLE = "Contrastive pre-training"
BATCH, EPOCHS = 256, 1000
RATE_PER_TRACK = 0.3 / 256

PRETRAIN: dict[str, NamedConfig] = {
    "contrastive_lars": NamedConfig(
        f"after a contrastive system: LARS at 0.3 for batches of {BATCH}, half a cosine to 0 over {EPOCHS:,} epochs",
        {
            "datamodule": {"batch_size_train": BATCH},
            "trainer": {"max_epochs": EPOCHS},
            "module": {
                "optimizer": {
                    "name": "lars",
                    "adamw": True,
                    "lr": RATE_PER_TRACK * BATCH,
                    "momentum": 0.9,
                    "weight_decay": 1e-6,
                    "schedule_mode": "cosine",
                    "warm_up_len": 1,
                    "ramp_down_start": 0,
                    "ramp_down_len": EPOCHS,
                    "last_lr_value": 0.0,
                }
            },
        },
    ),
}
