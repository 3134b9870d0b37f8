"""The networks of the library `musicnn` (Pons & Serra, 2019), whose weights come with its wheel: real tags, no hub."""

from __future__ import annotations

from experiments.configs.named import NamedConfig
from experiments.configs.tagger import CORPORA
from models.releases import RELEASES

TITLE = "musicnn, the original library's"
SIZES = {
    "musicnn_original": {
        "demo": {"model": {"timbral_channels": 32, "temporal_channels": 16, "channels": 32, "hidden": 64}},
        "debug": {"model": {"timbral_channels": 4, "temporal_channels": 4, "channels": 8, "hidden": 8}},
    },
}
PRETRAIN = {
    f"musicnn_original_{corpus}_inference": NamedConfig(
        f"musicnn as its library has it, 50 tags of {title}: 3-s windows; pip fetches its wheel once",
        {"model": {"network": "musicnn_original", "pretrained": f"musicnn_original_{corpus}"}},
        system=True,
    )
    for corpus, title in CORPORA.items()
    if f"musicnn_original_{corpus}" in RELEASES
}
TRANSFER = PRETRAIN
