"""What a file that leaves the house says of its network: labels, front end, settings of its training, licence."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.checkpoint_files import checkpoint_file
from experiments.encoder import Encoder
from experiments.tracking.journal import read
from models import published_taggers
from models.checkpoints import read_metadata
from models.releases import RELEASES, WHEEL

OWNERS = "the weights are their owner's"
TRAINED_WITH = ("seed", "trainer", "datamodule", "model", "module", "distillation")  # sections of settings
_START = "start"  # the first record of a journal


def card(encoder: Encoder, checkpoint: str | None, release: str | None) -> dict[str, Any]:
    """Plain JSON values: `task`, `labels`, `frontend` (its name, arguments and fingerprint), `front_end` (all its
    parameters), `sample_rate`, `normalisation`, `input`, `licence`, `weights` (their SHA-256), `suite` (version), and
    `training` where it is known.

    Settings of a training are given without the places of files.

    Args:
        encoder: The network.
        checkpoint: It was loaded from, a file, a folder or the name of a release; None: a release.
        release: Its name, where it is one.
    """
    if checkpoint in RELEASES:
        checkpoint, release = None, checkpoint
    checkpoint = None if checkpoint and checkpoint.endswith(WHEEL) else checkpoint  # which holds a release
    file = checkpoint_file(checkpoint) if checkpoint else None
    metadata = {**published_taggers.metadata_of(file), **read_metadata(file)} if file else {}
    training = metadata.get("training") or (_training(file) if file else None)
    description = {key: value for key, value in encoder.description.items() if key not in ("network", "class")}
    return {
        **description,
        "front_end": encoder.frontend.parameters_dict,
        "sample_rate": encoder.frontend.sample_rate,
        "licence": metadata.get("licence") or _licence(encoder, None if checkpoint else release, training),
        "weights": encoder.weights,
        "suite": f"ostinato {_version()}",
        **({"training": training} if training else {}),
    }


def _licence(encoder: Encoder, by_name: str | None, training: Mapping[str, Any] | None) -> str:
    for release in RELEASES.values():
        if release.name == by_name or release.identity == encoder.weights:
            return release.licence
    model = (training or {}).get("model")
    start = model.get("pretrained") if isinstance(model, Mapping) else None
    if isinstance(start, str) and start in RELEASES:
        return f"{OWNERS}; they started from {start} ({RELEASES[start].licence})"
    return OWNERS


def _training(file: Path) -> dict[str, Any] | None:
    """Settings of the run that a checkpoint lies in."""
    for folder in (file.parent, file.parent.parent):
        try:
            first = next(read(folder, metrics=False), {})
        except FileNotFoundError:
            continue
        config = first.get("document", {}).get("config", {}) if first.get("kind") == _START else {}
        return {name: _without_places(config[name]) for name in TRAINED_WITH if name in config}
    return None


def _without_places(value: Any) -> Any:
    """The value without paths: they mean nothing elsewhere, and tell of the machine they are from."""
    if isinstance(value, Mapping):
        return {key: _without_places(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_places(inner) for inner in value]
    return None if isinstance(value, str) and ("/" in value or "\\" in value or value.startswith("~")) else value


def _version() -> str:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as handle:
        return str(tomllib.load(handle)["project"]["version"])
