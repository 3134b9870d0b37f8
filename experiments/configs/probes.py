"""Probes of stored embeddings."""

from __future__ import annotations

from experiments.configs.named import NamedConfig

TITLE = "Probes"

PROBE: dict[str, NamedConfig] = {
    "demo": NamedConfig(
        "all tasks on the demo corpus: the networks that were trained, one of random weights, what needs no network",
        {
            "probe": {
                "tasks": ["tagging", "genre", "key", "emotion", "tempo", "tempo_regression"],
                "grid": "quick",
                "max_steps": 750,
            },
            "embeddings": {
                "store": "outputs/demo/pretrained/block_02",
                "compare": {
                    "random weights": "outputs/demo/random_weights/block_02",
                    "short-chunk CNN": "outputs/demo/short_chunk/layer7",
                },
                "predictions": {
                    "librosa tempo": "outputs/demo/librosa_tempo",
                    "key templates": "outputs/demo/key_krumhansl",
                },
                "ahead": {"short-chunk CNN": "mel statistics"},
            },
        },
    ),
}
