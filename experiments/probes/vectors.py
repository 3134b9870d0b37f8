"""One vector a track: what probes are trained on, and how stored tokens are pooled over the windows of a track."""

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
class Split:
    """Tracks of one split as matrices.

    Attributes:
        x: One vector a track, float32 `[tracks, values]`.
        y: Stacked targets of a task, `[tracks, ...]`.
        ids: The tracks, in the order of the rows.
        features: What made the vectors: `kind`, `fingerprint`, `reduction`, and where they can be made of new audio
            the `producer` of the store.
        groups: What each track is a clip of, where clips are evaluated together; None where each is evaluated alone.
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
        float32 `[values]`; computed in double, since stored values are float16.

    Raises:
        UserError: An unknown token or pooling, a repeated token, or another shape.
    """
    for token in tokens:
        if token not in names:
            raise unknown("token", token, names)
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
    if len(set(tokens)) < len(tokens):
        raise UserError(f"tokens={list(tokens)}: give one or more of {', '.join(names)}, each once")
    if (tokens and (embeddings.ndim != 3 or embeddings.shape[1] != len(names))) or not len(embeddings):
        raise UserError(f"embeddings of shape {list(embeddings.shape)}, expected [windows, {len(names)}, dim]")
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
    """The reduction of embeddings that has this name, as `Split.features` and a saved probe have it.

    Args:
        name: Of the reduction.
        names: Of the stored tokens.

    Raises:
        UserError: None has.
    """
    if name.startswith(AVERAGED) and set(chosen := name.removeprefix(AVERAGED).split("+")) <= set(names):
        return token_mean(chosen, names)
    tokens, _, rest = name.partition(", ")
    pooling = rest.removesuffix(" of patches") or "mean"
    made = token_reduction(() if tokens == "stored" else tokens.split("+"), pooling, names)
    known = pooling in POOLINGS and (tokens == "stored" or set(tokens.split("+")) <= set(names))
    if not known or made.name != name:
        raise UserError(f"reduction {name!r}: not one of embeddings, such as 'cls+dist+mean' or 'cls, max of patches'")
    return made


def _mean_and_deviation(mel: np.ndarray) -> np.ndarray:
    """Mean and population deviation over time of every band: `[frames, bands]` to float32 `[2 * bands]`.

    Computed in double, since stored frames are float16.
    """
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
        UserError: The store holds another kind of array, or lacks a track.
    """
    from datasets.progress import progress

    if store.header.kind != reduction.kind:
        raise UserError(f"the store holds {store.header.kind}; {reduction.name} is made from {reduction.kind}")
    if missing := set(ids) - set(store.ids):
        raise UserError(f"{len(missing)} of {len(ids)} tracks are not stored, {min(missing)!r} is one")
    vectors = []
    with progress("Reading vectors", len(ids), "tracks") as advance:
        for identity in ids:
            vectors.append(reduction.vector(store.read(identity)))
            advance()
    return np.stack(vectors)
