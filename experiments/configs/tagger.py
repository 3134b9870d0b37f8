"""The named configs that every tagger from raw audio has: train it, train it on MagnaTagATune, apply it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from experiments.configs.named import NamedConfig
from experiments.configs.recipes import AP
from models.releases import RELEASES

DATA = {"batch_size_train": 16, "batch_size_test": 16, "masking": {"do": False}}
USUAL: Mapping[str, Any] = {**AP, "module": {"mixup_alpha": 0.0, **AP["module"]}}
MTT = "data/mtt/audio"  # MagnaTagATune at 16 kHz; stores of other rates have them behind the name
CORPORA = {"mtt": "MagnaTagATune", "msd": "the Million Song Dataset", "jamendo": "MTG-Jamendo"}
NONE: Mapping[str, Any] = MappingProxyType({})

# Under `demo` and `debug` the schedule is one phase, under `demo` of Adam.
DEMO: Mapping[str, Any] = {
    "trainer": {"max_epochs": 10, "check_val_every_n_epoch": 1},
    "module": {
        "phases": [],
        "optimizer": {"name": "adam", "lr": 3e-3, "weight_decay": 1e-4, "schedule_mode": "constant", "nesterov": False},
    },
}
DEBUG: Mapping[str, Any] = {"module": {"phases": []}}


def training(
    network: str, title: str, window: str, own: Mapping[str, Any] = NONE, mtt: str = MTT, **model: Any
) -> dict[str, NamedConfig]:
    """The configs `NETWORK` and `NETWORK_mtt`.

    Args:
        network: Its name.
        title: What it is called.
        window: Length of its windows, in words.
        own: What differs from the usual settings of a tagger, laid over them key by key.
        mtt: Store of MagnaTagATune at its sample rate.
        model: Settings of the network.
    """
    usual = {**USUAL, "model": {"network": network, **model}}

    def config(description: str, data: Mapping[str, Any]) -> NamedConfig:
        return NamedConfig(description, {**usual, "datamodule": data}, by_network={network: own}, system=True)

    corpus = {"base_dir": mtt, "groundtruth": f"{mtt}/tracks_public.csv", "task": "tagging"}
    return {
        network: config(f"{title}: tag {window} windows of raw audio", DATA),
        f"{network}_mtt": config(
            f"{title} on MagnaTagATune, without untagged clips: audio store in {mtt}", {**DATA, **corpus}
        ),
    }


def applying(
    network: str, title: str, files: str = "best_model.pth as Won et al. publish it"
) -> dict[str, NamedConfig]:
    """The config `NETWORK_mtt_inference`, and one for every corpus that published weights were trained on.

    Args:
        network: Its name.
        title: What it is called.
        files: What `inference.checkpoint` may be besides a training of this project.
    """
    about = f"apply {title}: inference.checkpoint=FILE, also {files}"
    found = {f"{network}_mtt_inference": NamedConfig(about, {"model": {"network": network}}, system=True)}
    for corpus, tags in CORPORA.items():
        if (weights := f"won_{network}_{corpus}") in RELEASES:
            found[f"{network}_{corpus}_inference"] = NamedConfig(
                f"apply {title} with the weights of Won et al., 50 tags of {tags}; or inference.checkpoint=FILE",
                {"model": {"network": network, "pretrained": weights}},
                system=True,
            )
    return found
