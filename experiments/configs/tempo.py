"""Global tempo: networks on tempograms and on mel bands, as classes unless another task is composed with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.configs.named import NamedConfig

TITLE = "Tempo"
EPOCHS, WARM_UP = 100, 5
STRETCH: Mapping[str, Any] = {"name": "time_stretch", "low": 0.8, "high": 1.2}
# AdamW, a warm-up of 5 % and half a cosine; the best epoch is that of the highest Accuracy1, which also ends training.
RECIPE: Mapping[str, Any] = {
    "trainer": {"max_epochs": EPOCHS, "precision": "auto", "monitor": "metric", "early_stopping": 20},
    "module": {
        "do_swa": False,
        "mixup_alpha": 0.0,
        "augmentations": [STRETCH],
        "optimizer": {
            "name": "adamw",
            "lr": 3e-4,
            "weight_decay": 1e-2,
            "decay_all": False,
            "schedule_mode": "cosine",
            "warm_up_len": WARM_UP,
            "ramp_down_start": WARM_UP,
            "ramp_down_len": EPOCHS - WARM_UP,
            "last_lr_value": 0.01,
        },
    },
}
DATA: Mapping[str, Any] = {
    "task": "tempo",
    "batch_size_train": 32,
    "batch_size_test": 32,
    "masking": {"do": False},
    "sampler": {"balance": "tracks"},
}
SHORT: Mapping[str, Any] = {
    "trainer": {"max_epochs": 12, "check_val_every_n_epoch": 2},
    "module": {"optimizer": {"lr": 1e-3, "warm_up_len": 1, "ramp_down_start": 1, "ramp_down_len": 11}},
}
FASTER: Mapping[str, Any] = {"optimizer": {**SHORT["module"]["optimizer"], "lr": 3e-3}}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "tempo_mobilenet": {
        "demo": {**SHORT, "model": {"features": "tempogram_band", "width": 0.35}},
        "debug": {"model": {"features": "tempogram_band", "width": 0.1}},
    },
    "tempo_cnn14": {
        "demo": {**SHORT, "model": {"features": "tempogram_band", "channels": [8, 16, 32, 64, 64, 128]}},
        "debug": {"model": {"features": "tempogram_band", "channels": [4, 4, 4, 8, 8, 8]}},
    },
    "tempo_lags": {
        "demo": {**SHORT, "module": FASTER},
        "debug": {"model": {"channels": 4}},
    },
    "tempo_cnn": {
        "demo": {**SHORT, "module": FASTER},
        "debug": {"model": {"k": 2}},
    },
}
# Levels of mel bands, which the network makes an envelope of: more to store, and bands can be dropped before.
ENVELOPE_BANDS: Mapping[str, Any] = {
    "sample_rate": 22_050,
    "n_fft": 2048,
    "hop": 512,
    "bands": 128,
    "scale": "slaney",
    "norm": "area",
}
LOGMEL: Mapping[str, Any] = {**ENVELOPE_BANDS, "n_fft": 1024, "bands": 64, "low": 50.0}


def _system(network: str, about: str, **model: Any) -> NamedConfig:
    return NamedConfig(about, {**RECIPE, "datamodule": DATA, "model": {"network": network, **model}}, system=True)


TRANSFER: dict[str, NamedConfig] = {
    "tempo_mobilenet": _system("tempo_mobilenet", "tempo: MobileNetV2 on the tempogram of 12 s (model.features=...)"),
    "tempo_cnn14": _system("tempo_cnn14", "tempo: CNN14 on the tempogram of 12 s (model.features=...)"),
    "tempo_deep": _system("tempo_cnn", "tempo: small networks of filters along time on 40 mel bands, 12 s"),
    "tempo_small": _system("tempo_lags", "tempo: a small network that treats all tempi alike, 12 s; minutes on a CPU"),
    "tempo_classes": NamedConfig(
        "tempo as 256 classes, 30 to 285 BPM, with any system", {"datamodule": {"task": "tempo"}}
    ),
    "tempo_logmel": NamedConfig(
        "with tempo_mobilenet or tempo_cnn14: 64 mel bands in dB in the place of the tempogram",
        {
            "model": {"features": "logmel", "frontend": "mel_db", "frontend_arguments": LOGMEL},
            "module": {"augmentations": [STRETCH, {"name": "level", "low": -12.0, "high": 0.0, "p": 1.0}]},
        },
    ),
    "tempo_bands": NamedConfig(
        "with tempo_mobilenet or tempo_cnn14: store mel bands and drop some before the envelope that is made of them",
        {
            "model": {"frontend": "mel_db", "frontend_arguments": ENVELOPE_BANDS},
            "module": {"augmentations": [STRETCH, {"name": "drop_bands", "share": 0.5, "p": 0.5}]},
        },
    ),
    "tempo_typical": NamedConfig(
        "tempi as often as in music at large, whatever those of the corpus: tracks are played faster or slower for it",
        {
            "datamodule": {"sampler": {"balance": "typical"}},
            "module": {"augmentations": [{**STRETCH, "high": 1.6}]},
        },
    ),
    "tempo_even": NamedConfig(
        "tempi spread evenly from 40 to 250 BPM: tracks are chosen and played faster or slower for it",
        {
            "datamodule": {"sampler": {"balance": "stretch"}},
            "module": {"augmentations": [{**STRETCH, "high": 1.25}]},
        },
    ),
}
