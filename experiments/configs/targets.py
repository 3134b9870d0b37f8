"""Which corpus a system is applied to; to be composed with any system."""

from __future__ import annotations

from experiments.configs.named import NamedConfig

CONFIGS: dict[str, NamedConfig] = {
    "target_mtt": NamedConfig(
        "MagnaTagATune: log-mels in data/mtt/mels, embeddings to outputs/embeddings/mtt",
        {"datamodule": {"base_dir": "data/mtt/mels"}, "inference": {"out_dir": "outputs/embeddings/mtt"}},
    ),
}
