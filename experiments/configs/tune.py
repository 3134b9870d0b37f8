"""TUNe and TUNe+ (Vélez Vásquez and Burgoyne, ISMIR 2022), and the ablations of their paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.clmr import SIZES as OF_CLMR
from experiments.configs.clmr import inferring
from experiments.configs.contrastive import pretraining
from experiments.configs.named import NamedConfig
from models.tune_variants import VARIANTS

TITLE = "TUNe and TUNe+"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "tune": {
        "demo": {"model": {"width": 4, "tail": [8, 16, 32, 64, 128, 128, 128, 128], "size": 256}},
        "debug": {"model": {"width": 2, "tail": [4, 8, 8], "size": 8}},
    },
    "tune_hybrid": {
        "demo": {"model": {"width": 4, **OF_CLMR["clmr"]["demo"]["model"]}},
        "debug": {"model": {"width": 2, **OF_CLMR["clmr"]["debug"]["model"]}},
    },
}
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "tune": ("TUNe", {"network": "tune"}),
    "tune_plus": ("TUNe+", {"network": "tune", "connections": True}),
}
INFERENCE = {
    config: about
    for prefix, (title, model) in NETWORKS.items()
    for config, about in inferring(prefix, title, **model).items()
}
ABLATIONS = {
    f"tune_{name}": NamedConfig(
        f"an ablation of TUNe: {', '.join(f'{key}={value}' for key, value in arguments.items() if key != 'tail')}",
        {"model": {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()}},
        networks=("tune",),
        otherwise="give it with tune_pretrain or tune_inference",
    )
    for name, arguments in VARIANTS.items()
    if name not in ("tail_5", "plus")  # which are TUNe and TUNe+
}
HYBRID = {
    "tune_hybrid_inference": NamedConfig(
        "apply the hybrid of U-Net and SampleCNN: inference.checkpoint=FILE, a run of this project",
        {"model": {"network": "tune_hybrid"}},
        system=True,
    )
}
APPLIED: dict[str, NamedConfig] = {**INFERENCE, **HYBRID, **ABLATIONS}
PRETRAIN: dict[str, NamedConfig] = {
    **{f"{prefix}_pretrain": pretraining(title, **model) for prefix, (title, model) in NETWORKS.items()},
    "tune_hybrid_pretrain": pretraining("TUNe-SampleCNN hybrid", network="tune_hybrid"),
    **APPLIED,
}
TRANSFER: dict[str, NamedConfig] = APPLIED
