"""Checkpoints of small networks with random weights, one of each kind of answer."""

from __future__ import annotations

from pathlib import Path

import torch

from experiments.encoder import Encoder
from experiments.tasks import build
from experiments.tasks.base import Task
from models.checkpoints import save_network
from models.fcn import FCN
from models.network import Network
from models.thresholds import Thresholds
from tests.experiments.service.exported import TAGS, small


def checkpoint(kind: str, folder: Path) -> Path:
    """`KIND.safetensors` in a folder: of tags (with thresholds), genre, values, beats, tempo or embeddings."""
    network, task = _tempo() if kind == "tempo" else small(kind)
    encoder = Encoder.of(network.eval(), task=task)
    if kind == "tags":
        encoder.description["thresholds"] = Thresholds(tuple(TAGS), (0.2, 0.5, 0.9), 0.4, "validation", 1823).entry
    path = folder / f"{kind}.safetensors"
    save_network(path, network, encoder.description, encoder.frontend)
    return path


def _tempo() -> tuple[Network, Task]:
    torch.manual_seed(0)
    task = build("tempo")
    return FCN(n_classes=len(task.classes), channels=(4, 4, 4, 4, 4)), task
