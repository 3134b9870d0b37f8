"""Embeddings as they are answered: JSON, or a numpy file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, Field

from experiments.service.problems import ServiceError

MOST_NUMBERS = 4_000_000  # in JSON, about 80 MB of it; while it is made, it takes ten times as much as the array


class Embeddings(BaseModel):
    """Tokens of the windows of a file."""

    model: str
    seconds: float = Field(description="Length of the audio that was decoded")
    window_starts: list[float] = Field(description="Seconds", examples=[[0.0, 30.0]])
    tokens: list[str] = Field(description="Names of the tokens, in their order", examples=[["cls", "dist", "avg"]])
    layers: dict[str, list[list[list[float]]]] = Field(
        description="Of each layer [windows][tokens][dimensions]", examples=[{"block_07": [[[0.12, -0.53]]]}]
    )


def check_size(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse JSON of so many numbers that it would take the memory of the service.

    Raises:
        ServiceError: Says what to do instead.
    """
    numbers = sum(array.size for array in arrays.values())
    if numbers > MOST_NUMBERS:
        raise ServiceError(
            422,
            f"the embeddings of this file are {numbers:,} numbers, at most {MOST_NUMBERS:,} are given as JSON: ask for "
            "form=npy, or for fewer layers or tokens",
        )


def embeddings(
    model: str, seconds: float, starts: np.ndarray, tokens: Sequence[str], arrays: Mapping[str, np.ndarray]
) -> Embeddings:
    """The answer of a model.

    Args:
        model: Its name.
        seconds: Length of the file.
        starts: Of the windows, seconds.
        tokens: Their names.
        arrays: `[windows, tokens, dim]` by layer.
    """
    return Embeddings(
        model=model,
        seconds=round(seconds, 3),
        window_starts=np.round(starts, 3).tolist(),
        tokens=list(tokens),
        layers={name: array.tolist() for name, array in arrays.items()},
    )


def npy(array: np.ndarray) -> bytes:
    """An array as a numpy file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()
