"""From a store of arrays to one vector a track, with its target: what a probe is trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.text import pluralize
from experiments.errors import UserError
from experiments.tasks.base import unknown

if TYPE_CHECKING:
    from datasets.store import Reader

TOKENS = ("cls", "dist", "mean")  # order of the second axis of stored embeddings
CHOICES: Mapping[str, tuple[str, ...]] = {
    "cls": ("cls",),
    "dist": ("dist",),
    "mean": ("mean",),
    "cls+dist": ("cls", "dist"),
    "all": TOKENS,
}
AVERAGED = "mean of "  # in names of reductions, before tokens that are averaged
POOLINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {  # `[patches, ...]` to one array, in double
    "mean": lambda patches: patches.mean(axis=0, dtype=np.float64),
    "max": lambda patches: patches.max(axis=0).astype(np.float64),
    "mean+std": lambda patches: np.concatenate(
        [patches.mean(axis=0, dtype=np.float64), patches.std(axis=0, dtype=np.float64)], axis=-1
    ),
}


@dataclass(frozen=True)
class Split:
    """Tracks of one split as matrices.

    Attributes:
        x: One vector a track, float32 `[tracks, values]`.
        y: Stacked targets of a task, `[tracks, ...]`.
        ids: The tracks, in the order of the rows.
        features: What made the vectors: `kind`, `fingerprint`, `reduction`, and where they can be made of new audio
            the `producer` of the store.
        groups: What each track is a clip of, where clips are judged together; None where each is judged alone.
        layers: How many vectors of equal width stand side by side in a row, for a learned sum of them.
    """

    x: np.ndarray
    y: np.ndarray
    ids: list[str]
    features: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] | None = None
    layers: int = 1

    def __post_init__(self) -> None:
        """Refuse matrices that do not fit together.

        Raises:
            UserError: Nothing in it, rows that do not match, or values that are not finite.
        """
        if self.x.ndim != 2 or not len(self.x) or not len(self.x) == len(self.y) == len(self.ids):
            raise UserError(
                f"features of shape {list(self.x.shape)}, targets of shape {list(self.y.shape)}, "
                f"{pluralize(len(self.ids), 'id')}: "
                "expected [tracks, values], one target and one id a track, and 1 track or more"
            )
        broken = np.argwhere(~np.isfinite(self.x))
        if len(broken):
            row, column = broken[0]
            raise UserError(
                f"track {self.ids[row]!r}: value {column} of its features is {self.x[row, column]}; extract it again"
            )


@dataclass(frozen=True)
class Reduction:
    """A rule that makes one vector of a stored array.

    Attributes:
        name: Recorded with what was made by it; two vectors are comparable only under the same name.
        kind: The kind of store it reads.
        vector: `[n, ...]`, as stored, to `[values]`.
    """

    name: str
    kind: str
    vector: Callable[[np.ndarray], np.ndarray]


def pool(embeddings: np.ndarray, tokens: Sequence[str], pooling: str = "mean") -> np.ndarray:
    """Make one array of the patches of a track and set the chosen tokens side by side.

    Args:
        embeddings: `[patches, 3, dim]`, the tokens in the order of `TOKENS`; `[patches, ...]` where none are named.
        tokens: Names from `TOKENS`, in the order wanted; none for all there is, in the order there is.
        pooling: A key of `POOLINGS`.

    Returns:
        float32 `[values]`; computed in double, since stored values are float16.

    Raises:
        UserError: An unknown token or pooling, a repeated token, or another shape.
    """
    for token in tokens:
        if token not in TOKENS:
            raise unknown("token", token, TOKENS)
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
    if len(set(tokens)) < len(tokens):
        raise UserError(f"tokens={list(tokens)}: give one or more of {', '.join(TOKENS)}, each once")
    if (tokens and (embeddings.ndim != 3 or embeddings.shape[1] != len(TOKENS))) or not len(embeddings):
        raise UserError(f"embeddings of shape {list(embeddings.shape)}, expected [patches, {len(TOKENS)}, dim]")
    pooled = POOLINGS[pooling](embeddings)
    chosen = pooled[[TOKENS.index(token) for token in tokens]] if tokens else pooled
    return chosen.reshape(-1).astype(np.float32)


def token_reduction(tokens: Sequence[str], pooling: str = "mean") -> Reduction:
    """The reduction that pools stored embeddings with `pool`."""
    name = ("+".join(tokens) or "stored") + (f", {pooling} of patches" if pooling != "mean" else "")
    return Reduction(name, "embeddings", partial(pool, tokens=tuple(tokens), pooling=pooling))


def token_mean(tokens: Sequence[str]) -> Reduction:
    """The reduction that averages the chosen tokens, as wide as one of them, over tokens and patches."""
    if len(tokens) == 1:
        return token_reduction(tokens)

    def vector(embeddings: np.ndarray) -> np.ndarray:
        return pool(embeddings, tokens).reshape(len(tokens), -1).mean(axis=0, dtype=np.float64).astype(np.float32)

    return Reduction(AVERAGED + "+".join(tokens), "embeddings", vector)


def reduction_named(name: str) -> Reduction:
    """The reduction of embeddings that has this name, as `Split.features` and a saved probe have it.

    Raises:
        UserError: None has.
    """
    if name.startswith(AVERAGED) and set(chosen := name.removeprefix(AVERAGED).split("+")) <= set(TOKENS):
        return token_mean(chosen)
    tokens, _, rest = name.partition(", ")
    pooling = rest.removesuffix(" of patches") or "mean"
    found = token_reduction(() if tokens == "stored" else tokens.split("+"), pooling)
    known = pooling in POOLINGS and (tokens == "stored" or set(tokens.split("+")) <= set(TOKENS))
    if not known or found.name != name:
        raise UserError(f"reduction {name!r}: not one of embeddings, such as 'cls+dist+mean' or 'cls, max of patches'")
    return found


def gather(store: Reader, ids: Sequence[str], reduction: Reduction) -> tuple[np.ndarray, list[str], tuple[str, ...]]:
    """Read tracks from a store, one vector each.

    Args:
        store: A reader of the reduction's kind.
        ids: Tracks wanted; a store knows them by the same ids.
        reduction: How an array becomes a vector.

    Returns:
        float32 `[tracks found, values]`, the tracks found in the order of `ids`, and the ids that the store lacks.

    Raises:
        UserError: The store holds another kind of array, or none of the tracks.
    """
    from datasets.progress import progress

    if store.header.kind != reduction.kind:
        raise UserError(f"the store holds {store.header.kind}; {reduction.name} is made from {reduction.kind}")
    stored = set(store.ids)
    found = [identity for identity in ids if identity in stored]
    missing = tuple(identity for identity in ids if identity not in stored)
    if not found:
        wanted = f"the first wanted is {missing[0]!r}" if missing else "no track is wanted"
        known = f"the first stored is {min(stored)!r}" if stored else "the store is empty"
        raise UserError(f"none of {len(ids)} tracks is among the {len(stored)} of the store: {wanted}, {known}")
    vectors = []
    with progress("Reading vectors", len(found), "tracks") as advance:
        for identity in found:
            vectors.append(reduction.vector(store.read(identity)))
            advance()
    return np.stack(vectors), found, missing
