"""Self-attention behind convolutions, a tagger from raw audio (Won et al., arXiv 1906.04972)."""

from __future__ import annotations

from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "Self-attention CNN"
SIZES = {
    "self_attention": {
        "demo": {**DEMO, "model": {"channels": [8, 16, 32, 32, 32, 32, 32], "heads": 4}},
        "debug": {**DEBUG, "model": {"channels": [4, 8, 8, 8, 8, 8, 16], "heads": 4}},
    },
}
PRETRAIN = applying("self_attention", TITLE)
TRANSFER = training("self_attention", TITLE, "15-s") | PRETRAIN
