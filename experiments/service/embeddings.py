"""Embeddings as they are answered.

Those of an hour are millions of numbers. As one JSON document they are made window by window, in a thread, so that
other requests are answered meanwhile and no second copy of them is in memory.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, Field

from experiments.errors import UserError
from experiments.service.models import ServedModel
from experiments.service.problems import ServiceError

NPY = "application/x-npy"


class Embeddings(BaseModel):
    """Tokens of the windows of a file."""

    model: str = Field(description="Name of the model", examples=["tags"])
    seconds: float = Field(description="Length of the audio that was decoded", examples=[30.02])
    window_starts: list[float] = Field(description="Where the windows begin, seconds", examples=[[0.0, 10.0, 20.0]])
    tokens: list[str] = Field(description="Names of the tokens, in their order", examples=[["cls", "dist", "mean"]])
    layers: dict[str, list[list[list[float]]]] = Field(
        description="Of each layer [windows][tokens][dimensions]", examples=[{"block_06": [[[0.12, -1.3]]]}]
    )


def checked(
    model: ServedModel, layers: Sequence[str] | None, tokens: Sequence[str] | None, form: str
) -> tuple[list[str], list[int]]:
    """The layers, and the places of the tokens, that are asked for.

    Raises:
        ServiceError: The network has no such, or an array is to hold several layers.
    """
    known = list(model.encoder.network.token_names)
    try:
        chosen = model.encoder.layers(layers)
    except UserError as error:
        raise ServiceError(422, str(error)) from None
    if form == "npy" and len(chosen) > 1:
        raise ServiceError(422, f"form=npy takes one layer, not {', '.join(chosen)}: give form=json, or one layer")
    if wrong := [token for token in tokens or [] if token not in known]:
        raise ServiceError(422, f"token {wrong[0]!r}: this network has the tokens {', '.join(known)}")
    return chosen, [known.index(token) for token in dict.fromkeys(tokens or known)]


def as_npy(array: np.ndarray) -> bytes:
    """A NumPy file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def as_json(about: Embeddings, layers: Mapping[str, np.ndarray]) -> bytes:
    """A document of the type `Embeddings`.

    Args:
        about: It without layers.
        layers: Names to tokens `[windows, tokens, dimensions]`.
    """
    written = (
        f"{json.dumps(name)}:[{','.join(json.dumps(window.tolist()) for window in array)}]"
        for name, array in layers.items()
    )
    head = about.model_dump_json(exclude={"layers"}).removesuffix("}")
    return f'{head},"layers":{{{",".join(written)}}}}}'.encode()
