"""Models of the service that PyTorch computes: trained networks and kept probes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from experiments.errors import UserError
from experiments.export.cards import card
from experiments.inference.audio_files import decoder_of
from experiments.inference.network_predictor import opened, predictor_with
from experiments.probes.prediction import probe_predictor
from experiments.service.parts import Parts
from experiments.transfer.settings import TransferSettings
from models.running import Runner, logits_of, tokens_of


def parts_of(settings: TransferSettings) -> Parts:
    """The only network, or probe, that the settings name.

    Raises:
        UserError: It does not exist, or its parts do not fit together.
        CheckpointError: A checkpoint cannot be had or read.
    """
    inference = settings.inference
    if settings.probe.file is not None:
        predictor = probe_predictor(settings)
        encoder, about = predictor.encoder, {"probe": predictor.producer["probe"]}
    else:
        if inference.checkpoint and Path(inference.checkpoint).suffix == ".onnx":
            raise UserError(f"{inference.checkpoint} is an ONNX file, which service.engine=onnx serves: add it")
        pretraining = settings.as_pretraining()
        encoder, about = opened(pretraining), {}
        predictor = predictor_with(encoder, pretraining) if encoder.description["task"] else None
    own = card(encoder, inference.checkpoint, settings.model.pretrained)
    about = {**about, **{key: own[key] for key in ("licence", "weights", "training") if key in own}}
    embedding = lru_cache(maxsize=64)(partial(_embedding, encoder.runner(logits_of)))
    return Parts(encoder, predictor, about, decoder_of(encoder), embedding)


def _embedding(runner: Runner, layers: Sequence[str]) -> Runner:
    return runner.computing(partial(tokens_of, layers=layers))
