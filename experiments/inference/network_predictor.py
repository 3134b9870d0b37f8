"""A trained network as what predicts audio, by the settings of `predict`."""

from __future__ import annotations

from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.predictor import Predictor, predictor_of
from experiments.inference.selection import network_words
from experiments.networks.opening import open_encoder
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
    sections = (settings.inference, settings.datamodule, settings.rhythm)
    return predictor_of(encoder, encoder.runner(logits_of), *sections, network_words(settings), songs)
