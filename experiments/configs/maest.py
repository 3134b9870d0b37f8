"""MAEST: pre-training and inference (Alonso-Jiménez et al., arXiv 2309.16418). The names are those of its repository.

One row of `LENGTHS` and of `RELEASES` makes the configs of a clip length; nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig

# Clip length in seconds -> random time columns dropped in training. Three rows of frequency are dropped besides.
LENGTHS: Mapping[int, int] = {5: 15, 10: 30, 20: 60, 30: 90}
DROPPED_ROWS = 3
PASST = "passt_s_swa_p16_128_ap476"
DEIT = "passt_deit_bd_p16_384"

# Published networks: name of the config, release, what it is.
RELEASES: tuple[tuple[str, str, str], ...] = (
    ("maest_5s_from_passt_inference", "discogs-maest-5s-pw-129e", "5-s clips, 400 styles"),
    ("maest_10s_from_passt_inference", "discogs-maest-10s-pw-129e", "10-s clips, 400 styles"),
    ("maest_10s_from_deit_inference", "discogs-maest-10s-dw-75e", "10-s clips, started from ImageNet weights"),
    ("maest_10s_random_weights_inference", "discogs-maest-10s-fs-129e", "10-s clips, started from random weights"),
    ("maest_20s_from_passt_inference", "discogs-maest-20s-pw-129e", "20-s clips, 400 styles"),
    ("maest_30s_from_passt_inference", "discogs-maest-30s-pw-129e", "30-s clips, 400 styles; the strongest"),
    ("maest_30s_from_passt_teacher_student_inference", "discogs-maest-30s-pw-73e-ts", "30-s clips, distilled"),
    ("maest_30s_519l_inference", "discogs-maest-30s-pw-129e-519l", "30-s clips, 519 styles"),
)


def _pretrain(seconds: int, pretrained: str | None) -> dict[str, Any]:
    return {
        "datamodule": {"clip_length": seconds},
        "model": {"pretrained": pretrained, "s_patchout_t": LENGTHS[seconds], "s_patchout_f": DROPPED_ROWS},
    }


def _pretraining() -> dict[str, NamedConfig]:
    configs = {}
    for seconds in LENGTHS:
        name = f"maest_{seconds}s"
        configs[f"{name}_from_passt_pretrain"] = NamedConfig(
            f"pre-train on {seconds}-s clips, starting from PaSST's AudioSet weights", _pretrain(seconds, PASST)
        )
        configs[f"{name}_random_weights_pretrain"] = NamedConfig(
            f"pre-train on {seconds}-s clips, starting from random weights", _pretrain(seconds, None)
        )
        configs[f"{name}_pretrain"] = NamedConfig(
            f"short for {name}_from_passt_pretrain", configs[f"{name}_from_passt_pretrain"].values
        )
    configs["maest_10s_from_deit_pretrain"] = NamedConfig(
        "pre-train on 10-s clips, starting from DeiT's ImageNet weights", _pretrain(10, DEIT)
    )
    return configs


def _inference() -> dict[str, NamedConfig]:
    configs = {}
    for name, release, what in RELEASES:
        values = {"model": {"pretrained": release}}
        if release.endswith("-ts"):
            values["model"]["distilled_type"] = "separated"
        configs[name] = NamedConfig(f"the published {release}: {what}", values)
    for seconds in LENGTHS:
        full = f"maest_{seconds}s_from_passt_inference"
        configs[f"maest_{seconds}s_inference"] = NamedConfig(f"short for {full}", configs[full].values)
    return configs


CONFIGS: dict[str, NamedConfig] = {**_pretraining(), **_inference()}
