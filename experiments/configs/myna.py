"""Contrastive learning by masking alone, without augmentation of the audio (Yonay et al., "Myna", arXiv 2502.12511)."""

from __future__ import annotations

from experiments.configs.named import NamedConfig

TITLE = "Myna"

# 12 x 6 patches that do not overlap, seven of which a view keeps. Temperature, optimiser, the width of the transformer
# (its small one, of 22 M parameters) and two crops of a track are as in the published code; the front end, patches of
# 96 bands and the loss are those of this project: NT-Xent in place of a global estimate of it. Its batches hold 4,096
# tracks, ours 1,024. Several processes add theirs up, gathered gradients do not.
PRETRAIN: dict[str, NamedConfig] = {
    "myna_pretrain": NamedConfig(
        "pre-train without labels on 1,024 or more tracks of base_dir: two 3-s crops of each, nine tenths of it masked",
        {
            "trainer": {"max_epochs": 500},
            "datamodule": {"clip_length": 3.072, "batch_size_train": 1024, "masking": {"do": False}},
            "model": {"stride_f": 16, "stride_t": 16, "dim": 384, "depth": 12, "heads": 6},
            "module": {
                "objective": "contrastive",
                "do_swa": False,
                "mixup_alpha": 0.0,
                "optimizer": {"name": "adam", "lr": 3e-4, "weight_decay": 1e-5, "schedule_mode": "constant"},
            },
            "contrastive": {"masked": 0.9, "temperature": 0.1},
        },
        system=True,
    ),
}
