"""Which corpus a system is applied to; to be composed with any system.

`python -m preprocess CORPUS DATA_DIR data/NAME/mels` prepares a corpus where these look for it. One row of `TARGETS`
makes `target_NAME`, for training and extraction, and `probe_NAME`, for the task that the corpus is a test of, where
there is such a task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.tasks import TASKS


@dataclass(frozen=True)
class Target:
    """A protocol of a published corpus.

    Attributes:
        name: Of its configs.
        about: Corpus and protocol, for the descriptions.
        task: What it is a test of.
        folder: Below `data/`.
        table: In the folder of its log-mels; empty for that of the corpus's usual protocol.
    """

    name: str
    about: str
    task: str
    folder: str
    table: str = ""


TITLE = "Published corpora, with any system"

TARGETS: tuple[Target, ...] = (
    Target("mtt", "MagnaTagATune, 12:1:3, with untagged clips", "tagging", "mtt"),
    Target("mtt_public", "MagnaTagATune, 12:1:3, without untagged clips", "tagging", "mtt", "tracks_public.csv"),
    Target("gtzan", "GTZAN, fault-filtered", "genre", "gtzan"),
    Target("giantsteps", "GiantSteps key, trained on GiantSteps-MTG key", "key", "giantsteps"),
    Target("emomusic", "EmoMusic, arousal and valence", "emotion", "emomusic"),
    Target("jamendo_top50", "MTG-Jamendo, 50 commonest tags", "tagging", "jamendo"),
    Target("jamendo_genre", "MTG-Jamendo, 87 genres", "tagging", "jamendo", "tracks_genre.csv"),
    Target("jamendo_instrument", "MTG-Jamendo, 40 instruments", "tagging", "jamendo", "tracks_instrument.csv"),
    Target("jamendo_moodtheme", "MTG-Jamendo, 56 moods and themes", "tagging", "jamendo", "tracks_moodtheme.csv"),
)


def data_of(target: Target) -> dict[str, Any]:
    """Settings of the data module that name the log-mels and the table."""
    mels = f"data/{target.folder}/mels"
    return {"base_dir": mels} | ({"groundtruth": f"{mels}/{target.table}"} if target.table else {})


def _target(target: Target) -> NamedConfig:
    values = {"datamodule": data_of(target), "inference": {"out_dir": f"outputs/embeddings/{target.folder}"}}
    where = f"log-mels in data/{target.folder}/mels, embeddings to outputs/embeddings/{target.folder}"
    return NamedConfig(f"{target.about}: {where}", values)


def _probe(target: Target) -> NamedConfig:
    values = {"datamodule": data_of(target), "probe": {"tasks": [target.task], "grid": "full"}}
    return NamedConfig(f"{target.task} on {target.about}, 216 probes: annotations in data/{target.folder}/mels", values)


PRETRAIN: dict[str, NamedConfig] = {f"target_{target.name}": _target(target) for target in TARGETS}
PROBE: dict[str, NamedConfig] = {f"probe_{target.name}": _probe(target) for target in TARGETS if target.task in TASKS}
