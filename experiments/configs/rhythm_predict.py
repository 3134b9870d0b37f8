"""What a song is asked for, `predict with beats` or `with tempo`: the task alone; the checkpoint says the rest."""

from __future__ import annotations

from experiments.configs.named import NamedConfig

TITLE = "Rhythm of songs, with a trained network"


def _asking(task: str, what: str) -> NamedConfig:
    return NamedConfig(f"task {task}: {what}", {"datamodule": {"task": task}})


PRETRAIN = TRANSFER = {
    "beats": _asking("beats", "for predict with inference.checkpoint=FILE, or beside a network of your own"),
    "tempo": _asking("tempo", "for predict with inference.checkpoint=FILE, or beside a network of your own"),
}
