"""What a model of the service is made of, whichever engine computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.described_encoder import DescribedEncoder
from experiments.inference.predictor import Predictor, RunBatch
from preprocess.attempts import Decode


@dataclass(frozen=True)
class Parts:
    """A network, or a probe on one.

    Attributes:
        encoder: The network.
        predictor: What predicts; None of a network without outputs, which only gives embeddings.
        about: What is known of it besides: licence, weights, training.
        decode: A file to the rows that the network's windows are cut from; it can be sent to another process.
        embedding: Names of layers to what makes their tokens of windows.
    """

    encoder: DescribedEncoder
    predictor: Predictor | None
    about: Mapping[str, Any]
    decode: Decode
    embedding: Callable[[Sequence[str]], RunBatch]
