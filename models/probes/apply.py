"""A trained probe as arrays: its scaler and its use on vectors, in plain numpy.

Weights are `0.weight` `[hidden or outputs, values]`, `0.bias` and, with a hidden layer, `1.weight`, `1.bias`; with a
learned sum of layers of a network, `blocks` `[layers]`, whose softmax are their shares.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def scaler(x: np.ndarray, standardise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population deviation of every column, float64 `[values]` each; a constant column gets deviation 1."""
    if not standardise:
        return np.zeros(x.shape[1]), np.ones(x.shape[1])
    mean = x.mean(axis=0, dtype=np.float64)
    scale = x.std(axis=0, dtype=np.float64)
    constant = np.ptp(x, axis=0) == 0
    return np.where(constant, x[0], mean), np.where(constant, 1.0, scale)


def scaled(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Apply a scaler in double; float32 `[tracks, values]`."""
    return ((x - mean) / scale).astype(np.float32)


def block_shares(weights: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What every layer adds to a learned sum, `[layers]`, in all 1; None for a probe of one layer."""
    if "blocks" not in weights:
        return None
    raised = np.exp(weights["blocks"] - weights["blocks"].max())
    return raised / raised.sum()


def outputs(weights: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Scaled vectors `[tracks, values]`, those of several layers side by side, to float32 `[tracks, outputs]`."""
    if (shares := block_shares(weights)) is not None:
        x = np.einsum("l,nld->nd", shares, x.reshape(len(x), len(shares), -1))
    x = x @ weights["0.weight"].T + weights["0.bias"]
    if "1.weight" in weights:
        x = np.maximum(x, 0) @ weights["1.weight"].T + weights["1.bias"]
    return x
