"""A trained network as what predicts audio, by the settings of `predict`."""

from __future__ import annotations

from functools import partial

import numpy as np

from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.predictor import Predictor
from experiments.inference.rhythm import asked, tempi_of
from experiments.inference.selection import network_words
from experiments.networks.opening import open_encoder, windowing_of
from experiments.settings import PretrainSettings
from models.running import logits_of


def network_predictor(settings: PretrainSettings, songs: int = 1) -> Predictor:
    """The network of the settings with its own head.

    Args:
        settings: Of the experiment.
        songs: How many are predicted.

    Raises:
        UserError: No network is named, or what is set does not fit it.
        CheckpointError: It cannot be had or read.
    """
    if settings.inference.random_weights:
        raise UserError("inference.random_weights: an untrained network has no classes; give inference.checkpoint")
    return predictor_with(opened(settings), settings, songs)


def opened(settings: PretrainSettings) -> Encoder:
    """The network of the settings, fed as they say; errors as of `experiments.networks.opening.open_encoder`."""
    encoder, wanted = open_encoder(settings), settings.datamodule.input
    return encoder if wanted is None else encoder.fed(wanted == "audio")


def predictor_with(encoder: Encoder, settings: PretrainSettings, songs: int = 1) -> Predictor:
    """The same of a network that is open."""
    inference = settings.inference
    task, decoding = asked(encoder, settings.datamodule.task, settings.rhythm, songs)
    join = inference.join or task.usual_join
    # a join that does not fit is an error before the work
    if inference.join and not task.clip_level:
        task.checked_join(join)
    elif task.clip_level:
        one = np.ones((1, task.n_outputs))
        task.join_outputs(one, one, np.zeros(1), join)
    return Predictor(
        encoder,
        task,
        windowing_of(settings, encoder, settings.datamodule.clip_length),
        encoder.runner(logits_of),
        partial(_decode, encoder, join),
        ({} if join == "mean" else {"join": join}) | decoding,
        thresholds=encoder.thresholds,
        words=network_words(settings),
        tempi=tempi_of(task, settings.rhythm),
    )


def _decode(
    encoder: Encoder, join: str, outputs: np.ndarray, starts: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """See `Predictor.predict`."""
    return encoder.decode(outputs, starts, join, rows)
