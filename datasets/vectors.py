"""One vector a track: how the stored array of a track, windows or frames of it, is reduced to what classifiers see.

Everything is computed in double, since stored values are float16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from datasets.progress import progress
from datasets.store import Reader, StoreError

TOKENS = ("cls", "dist", "mean")  # of stores whose header names none and whose rows are [3, dim]
AVERAGED = "mean of "  # in names of reductions, before tokens that are averaged
POOLINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {  # `[windows, ...]` to one array, in double
    "mean": lambda windows: windows.mean(axis=0, dtype=np.float64),
    "max": lambda windows: windows.max(axis=0).astype(np.float64),
    "mean+std": lambda windows: np.concatenate(
        [windows.mean(axis=0, dtype=np.float64), windows.std(axis=0, dtype=np.float64)], axis=-1
    ),
}


@dataclass(frozen=True)
class Reduction:
    """A rule that makes one vector of a stored array.

    Attributes:
        name: Recorded with what was made by it: two vectors are comparable only under the same name.
        kind: The kind of store it reads.
        vector: `[n, ...]`, as stored, to `[values]`.
    """

    name: str
    kind: str
    vector: Callable[[np.ndarray], np.ndarray]


def pool(
    embeddings: np.ndarray, tokens: Sequence[str], pooling: str = "mean", names: Sequence[str] = TOKENS
) -> np.ndarray:
    """Make one array of the windows of a track and set the chosen tokens side by side.

    Args:
        embeddings: `[windows, tokens, dim]`; `[windows, ...]` where no tokens are chosen.
        tokens: Names from `names`, in the order wanted; none for all there is, in the order there is.
        pooling: A key of `POOLINGS`.
        names: Of the stored tokens, in their order.

    Returns:
        float32 `[values]`.

    Raises:
        StoreError: An unknown token or pooling, a repeated token, or another shape.
    """
    if pooling not in POOLINGS:
        raise StoreError(f"unknown pooling {pooling!r}; choose one of {', '.join(POOLINGS)}")
    if not set(tokens) <= set(names) or len(set(tokens)) < len(tokens):
        raise StoreError(f"tokens={list(tokens)}: give one or more of {', '.join(names)}, each once")
    if (tokens and (embeddings.ndim != 3 or embeddings.shape[1] != len(names))) or not len(embeddings):
        raise StoreError(f"embeddings of shape {list(embeddings.shape)}, expected [windows, {len(names)}, dim]")
    pooled = POOLINGS[pooling](embeddings)
    chosen = pooled[[names.index(token) for token in tokens]] if tokens else pooled
    return chosen.reshape(-1).astype(np.float32)


def token_reduction(tokens: Sequence[str], pooling: str = "mean", names: Sequence[str] = TOKENS) -> Reduction:
    """The reduction that pools stored embeddings with `pool`."""
    name = "+".join(tokens) or "stored"
    name += f", {pooling} of patches" if pooling != "mean" else ""  # windows, as files of probes know them
    return Reduction(name, "embeddings", partial(pool, tokens=tuple(tokens), pooling=pooling, names=tuple(names)))


def token_mean(tokens: Sequence[str], names: Sequence[str] = TOKENS) -> Reduction:
    """The reduction that averages the chosen tokens, as wide as one of them, over tokens and windows."""
    if len(tokens) == 1:
        return token_reduction(tokens, names=names)

    def vector(embeddings: np.ndarray) -> np.ndarray:
        pooled = pool(embeddings, tokens, names=names).reshape(len(tokens), -1)
        return pooled.mean(axis=0, dtype=np.float64).astype(np.float32)

    return Reduction(AVERAGED + "+".join(tokens), "embeddings", vector)


def reduction_named(name: str, names: Sequence[str] = TOKENS) -> Reduction:
    """The reduction of embeddings that has this name, as it is recorded with what was made by it.

    Args:
        name: Of the reduction.
        names: Of the stored tokens.

    Raises:
        StoreError: None has.
    """
    if name.startswith(AVERAGED) and set(chosen := name.removeprefix(AVERAGED).split("+")) <= set(names):
        return token_mean(chosen, names)
    tokens, _, rest = name.partition(", ")
    pooling = rest.removesuffix(" of patches") or "mean"
    made = token_reduction(() if tokens == "stored" else tokens.split("+"), pooling, names)
    known = pooling in POOLINGS and (tokens == "stored" or set(tokens.split("+")) <= set(names))
    if not known or made.name != name:
        raise StoreError(f"reduction {name!r}: not one of embeddings, such as 'cls+dist+mean' or 'cls, max of patches'")
    return made


def _mean_and_deviation(mel: np.ndarray) -> np.ndarray:
    """Mean and population deviation over time of every band: `[frames, bands]` to float32 `[2 * bands]`."""
    return np.concatenate([mel.mean(axis=0, dtype=np.float64), mel.std(axis=0, dtype=np.float64)]).astype(np.float32)


MEL_STATISTICS = Reduction("mean and deviation over time", "mel", _mean_and_deviation)


def gather(store: Reader, ids: Sequence[str], reduction: Reduction) -> np.ndarray:
    """Read tracks from a store, one vector each.

    Args:
        store: A reader of the reduction's kind.
        ids: Tracks wanted, all of them stored.
        reduction: How an array becomes a vector.

    Returns:
        float32 `[tracks, values]`, in the order of `ids`.

    Raises:
        StoreError: The store holds another kind of array, or lacks a track.
    """
    if store.header.kind != reduction.kind:
        raise StoreError(f"the store holds {store.header.kind}; {reduction.name} is made from {reduction.kind}")
    if missing := set(ids) - set(store.ids):
        raise StoreError(f"{len(missing)} of {len(ids)} tracks are not stored, {min(missing)!r} is one")
    vectors = []
    with progress("Reading vectors", len(ids), "tracks") as advance:
        for identity in ids:
            vectors.append(reduction.vector(store.read(identity)))
            advance()
    return np.stack(vectors)
