"""MAEST: pre-training and inference (Alonso-Jiménez et al., arXiv 2309.16418). The names are those of its repository.

One row of `SYSTEMS` makes the configs of a system, nothing is written twice. The recipe is that of the code as it was
first published, in 2023; `maest_recipe_2025` leads to that of today, without its faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.configs.named import NamedConfig

TITLE = "MAEST"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "maest": {
        "demo": {"model": {"dim": 128, "depth": 4, "heads": 4}, "inference": {"transformer_block": 2}},
        "debug": {
            "model": {"dim": 32, "depth": 2, "heads": 2, "s_patchout_f": 2},
            "inference": {"transformer_block": 1},
        },
    },
}

# Clip length in seconds -> random time columns dropped in training. Three rows of frequency are dropped besides.
LENGTHS: Mapping[int, int] = {5: 15, 10: 30, 20: 60, 30: 90}
DROPPED_ROWS = 3
PASST = "passt_s_swa_p16_128_ap476"
DEIT = "passt_deit_bd_p16_384"
STARTS: Mapping[str | None, str] = {
    PASST: "PaSST's AudioSet weights",
    DEIT: "DeiT's ImageNet weights",
    None: "random weights",
}


@dataclass(frozen=True)
class MaestSystem:
    """A network of the paper: how it is trained, and where it is published.

    Attributes:
        name: Of its configs, before `_pretrain` and `_inference`.
        seconds: Length of its windows.
        start: Release that training starts from; None for random weights.
        release: The published network, if there is one.
        about: What is special about it, for the descriptions.
        needs: The setting that its training needs for that.
        short: A second name.
        values: Settings of training beyond those of its length.
    """

    name: str
    seconds: int
    start: str | None
    release: str | None = None
    about: str = ""
    needs: str = ""
    short: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


# 519 classes, like any others, are those of the corpus, or of datamodule.labels=FILE where that is given.
MORE_STYLES = {"datamodule": {"batch_size_train": 6}}
TEACHER_STUDENT = {"datamodule": {"batch_size_train": 4}, "model": {"distilled_type": "separated"}}

SYSTEMS: tuple[MaestSystem, ...] = (
    MaestSystem("maest_5s_from_passt", 5, PASST, "discogs-maest-5s-pw-129e", short="maest_5s"),
    MaestSystem("maest_5s_random_weights", 5, None),
    MaestSystem("maest_10s_from_passt", 10, PASST, "discogs-maest-10s-pw-129e", short="maest_10s"),
    MaestSystem("maest_10s_from_deit", 10, DEIT, "discogs-maest-10s-dw-75e"),
    MaestSystem("maest_10s_random_weights", 10, None, "discogs-maest-10s-fs-129e"),
    MaestSystem("maest_20s_from_passt", 20, PASST, "discogs-maest-20s-pw-129e", short="maest_20s"),
    MaestSystem("maest_20s_random_weights", 20, None),
    MaestSystem("maest_30s_from_passt", 30, PASST, "discogs-maest-30s-pw-129e", short="maest_30s"),
    MaestSystem("maest_30s_random_weights", 30, None),
    MaestSystem(
        "maest_30s_519l", 30, PASST, "discogs-maest-30s-pw-129e-519l",
        about="519 styles", needs="datamodule.labels", values=MORE_STYLES,
    ),
    MaestSystem(
        "maest_30s_from_passt_teacher_student", 30, PASST, "discogs-maest-30s-pw-73e-ts",
        about="second head with a teacher", needs="distillation.logits",
        short="maest_30s_teacher_student", values=TEACHER_STUDENT,
    ),
)  # fmt: skip

# What these are called in the README and the file of configs of MAEST's repository.
UPSTREAM: Mapping[str, str] = {
    **{f"maest_discogs_{seconds}sec_pretrain": f"maest_{seconds}s_from_passt_pretrain" for seconds in LENGTHS},
    **{f"passt_discogs_{seconds}sec_pretrain": f"maest_{seconds}s_from_passt_pretrain" for seconds in LENGTHS},
    **{f"maest_{seconds}s_from_passt_infer": f"maest_{seconds}s_from_passt_inference" for seconds in LENGTHS},
}

TODAY = NamedConfig(
    "after any of them: MAEST's code of 2025, without frequency patchout and masking, each epoch in the average",
    {"model": {"s_patchout_f": 0}, "datamodule": {"masking": {"do": False}}, "module": {"swa_freq": 1}},
)


def _pretrain(system: MaestSystem) -> NamedConfig:
    values = {
        "datamodule": {"clip_length": system.seconds, **system.values.get("datamodule", {})},
        "model": {
            "pretrained": system.start,
            "s_patchout_t": LENGTHS[system.seconds],
            "s_patchout_f": DROPPED_ROWS,
            **system.values.get("model", {}),
        },
    }
    about = f"; {system.about} ({system.needs})" if system.about else ""
    text = f"pre-train on {system.seconds}-s windows, starting from {STARTS[system.start]}{about}"
    return NamedConfig(text, values, system=True)


def _inference(system: MaestSystem) -> NamedConfig:
    values = {"model": {"pretrained": system.release, **system.values.get("model", {})}}
    about = f", {system.about}" if system.about else ""
    text = f"the published {system.release}: {system.seconds}-s windows, from {STARTS[system.start]}{about}"
    return NamedConfig(text, values, system=True)


def _named(name: str, config: NamedConfig) -> dict[str, NamedConfig]:
    """A config with its other names."""
    base, kind = name.rsplit("_", 1)
    short = {f"{system.short}_{kind}" for system in SYSTEMS if system.name == base and system.short}
    aliases = dict.fromkeys(short, f"short for {name}")
    aliases |= {other: f"a name in MAEST's repository, for {name}" for other, full in UPSTREAM.items() if full == name}
    return {
        name: config,
        **{
            other: replace(config, description=text, group=f"{TITLE}, other names", stands_for=name)
            for other, text in aliases.items()
        },
    }


def _configs() -> dict[str, NamedConfig]:
    configs = {}
    for system in SYSTEMS:
        made = {"pretrain": _pretrain(system)} | ({"inference": _inference(system)} if system.release else {})
        for kind, config in made.items():
            configs |= _named(f"{system.name}_{kind}", config)
    return {**configs, "maest_recipe_2025": TODAY}


PRETRAIN: dict[str, NamedConfig] = _configs()
