"""MAEST's probe on stored embeddings: which corpus.

One row of `experiments.configs.targets.TARGETS` makes `target_NAME_tl`, on the embeddings of block 6, the "block 7" of
the MAEST paper, that `python ex_pretrain.py extract_embeddings with maest_30s_inference target_NAME` leaves.
"""

from __future__ import annotations

from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.targets import TARGETS, Target, data_of
from experiments.tasks import TASKS

TITLE = "MAEST's probe on stored embeddings"
BLOCK = 6


def _transfer(target: Target) -> NamedConfig:
    store = f"outputs/embeddings/{target.folder}"
    values: dict[str, Any] = {
        "datamodule": data_of(target) | {"task": target.task},
        "embeddings": {"store": store, "block": BLOCK},
        "probe": {"file": f"outputs/probes/{target.name}_tl.safetensors"},
    }
    return NamedConfig(f"{target.task} on {target.about}: embeddings of block {BLOCK} in {store}", values, system=True)


TRANSFER: dict[str, NamedConfig] = {
    **{f"target_{target.name}_tl": _transfer(target) for target in TARGETS if target.task in TASKS},
    "target_demo_tl": NamedConfig(
        "tagging on the demo corpus: embeddings that `make demo` leaves in outputs/demo/pretrained",
        {
            "embeddings": {"store": "outputs/demo/pretrained", "block": 2},
            "probe": {"file": "outputs/probes/demo_tl.safetensors"},
        },
        system=True,
    ),
}
