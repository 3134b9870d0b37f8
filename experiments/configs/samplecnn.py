"""SampleCNN and its residual variant, taggers of samples (Lee et al., SMC 2017; Kim et al., ICASSP 2018)."""

from __future__ import annotations

from experiments.configs.tagger import DEBUG, DEMO, applying, training

TITLE = "SampleCNN"
TITLES = {"samplecnn": "SampleCNN", "samplecnn_se": "SampleCNN with squeeze and excitation"}
SMALL = {
    "demo": {**DEMO, "model": {"channels": [16, 16, 16, 32, 32, 32, 32, 32, 32, 64, 64]}},
    "debug": {**DEBUG, "model": {"channels": [4] * 11}},
}
SIZES = dict.fromkeys(TITLES, SMALL)
PRETRAIN = {config: about for network, title in TITLES.items() for config, about in applying(network, title).items()}
TRANSFER = {
    config: about for network, title in TITLES.items() for config, about in training(network, title, "3.7-s").items()
} | PRETRAIN
