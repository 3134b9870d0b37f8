"""Which corpus a system is applied to; to be composed with any system.

`python -m preprocess CORPUS DATA_DIR data/NAME/mels` prepares a corpus where these look for it. One row of `TARGETS`
makes `target_NAME`, for training and extraction, and where there is the task that the corpus is a test of, `probe_NAME`
and `target_NAME_tl`: MAEST's probe on the embeddings of block 6, the "block 7" of the MAEST paper, that
`python ex_pretrain.py extract_embeddings with maest_30s_inference target_NAME` leaves.

Corpora of tempo and beats are targets of `ex_transfer.py`, too, whose networks have front ends of their own:
`python -m preprocess CORPUS DATA_DIR data/NAME/audio --audio RATE`. A probe on one vector a track cannot tell beats, so
for them there is nothing else.
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
        audio: Whether networks of `ex_transfer.py` take its audio.
        probed: Whether it has what probes need: a training and a test.
    """

    name: str
    about: str
    task: str
    folder: str
    table: str = ""
    audio: bool = False
    probed: bool = True


def rhythm(
    name: str, about: str, task: str = "beats", folder: str = "", table: str = "", probed: bool = False
) -> Target:
    """A corpus of tempo or beats."""
    return Target(name, about, task, folder or name, table, audio=True, probed=probed)


TITLE = "Published corpora, with any system"
PROBE_TITLE = "MAEST's probe on stored embeddings"
BLOCK = 6

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
    rhythm("gtzan_tempo", "GTZAN tempo (gtzan_tempo_beat), 80/20 by genre", "tempo"),
    rhythm("gtzan_tempo_filtered", "GTZAN tempo, fault-filtered", "tempo", "gtzan_tempo", "tracks_filtered.csv", True),
    rhythm("gtzan_tempo_all", "GTZAN tempo, all of it as test", "tempo", "gtzan_tempo", "tracks_all.csv"),
    rhythm("gtzan_beats", "GTZAN rhythm, all of it as test"),
    rhythm("ballroom", "Ballroom without repetitions"),
    rhythm("hainsworth", "Hainsworth"),
    rhythm("smc", "SMC, without downbeats"),
    rhythm("hjdb", "HJDB"),
    rhythm("beatles", "Beatles"),
    rhythm("rwc", "RWC"),
    rhythm("harmonix", "Harmonix"),
    rhythm("asap", "ASAP"),
    rhythm("groove_midi", "Groove MIDI"),
    rhythm("candombe", "Candombe"),
    rhythm("guitarset", "GuitarSet"),
    rhythm("simac", "SIMAC, without downbeats"),
)


def data_of(target: Target, kind: str = "mels") -> dict[str, Any]:
    """Settings of the data module that name the log-mels, or the `audio`, and the table."""
    store = f"data/{target.folder}/{kind}"
    return {"base_dir": store} | ({"groundtruth": f"{store}/{target.table}"} if target.table else {})


def _target(target: Target) -> NamedConfig:
    values = {"datamodule": data_of(target), "inference": {"out_dir": f"outputs/embeddings/{target.folder}"}}
    where = f"log-mels in data/{target.folder}/mels, embeddings to outputs/embeddings/{target.folder}"
    return NamedConfig(f"{target.about}: {where}", values)


def _audio_target(target: Target) -> NamedConfig:
    return NamedConfig(f"{target.about}: audio in data/{target.folder}/audio", {"datamodule": data_of(target, "audio")})


def _probe(target: Target) -> NamedConfig:
    values = {"datamodule": data_of(target), "probe": {"tasks": [target.task], "grid": "full"}}
    return NamedConfig(f"{target.task} on {target.about}, 216 probes: annotations in data/{target.folder}/mels", values)


def _transfer(target: Target) -> NamedConfig:
    store = f"outputs/embeddings/{target.folder}"
    values: dict[str, Any] = {
        "datamodule": data_of(target) | {"task": target.task},
        "embeddings": {"store": store, "block": BLOCK},
        "probe": {"file": f"outputs/probes/{target.name}_tl.safetensors"},
    }
    return NamedConfig(
        f"{target.task} on {target.about}: embeddings of block {BLOCK} in {store}",
        values,
        system=True,
        group=PROBE_TITLE,
    )


WHOLE = [target for target in TARGETS if target.task != "beats"]
PROBED = [target for target in WHOLE if target.task in TASKS and target.probed]

PRETRAIN: dict[str, NamedConfig] = {f"target_{target.name}": _target(target) for target in WHOLE}
PROBE: dict[str, NamedConfig] = {f"probe_{target.name}": _probe(target) for target in PROBED}
TRANSFER: dict[str, NamedConfig] = {
    **{f"target_{target.name}": _audio_target(target) for target in TARGETS if target.audio},
    **{f"target_{target.name}_tl": _transfer(target) for target in PROBED},
    "target_demo_tl": NamedConfig(
        "tagging on the demo corpus: embeddings that `make demo` leaves in outputs/demo/pretrained",
        {
            "embeddings": {"store": "outputs/demo/pretrained", "block": 2},
            "probe": {"file": "outputs/probes/demo_tl.safetensors"},
        },
        system=True,
        group=PROBE_TITLE,
    ),
}
