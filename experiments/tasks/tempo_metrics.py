"""Metrics of global tempo, one value an item: `estimates` and `references` are BPM, `[items]`, above zero.

    Accuracy0   estimate and reference are the same whole number
    Accuracy1   the estimate is within 4 % of the reference
    Accuracy2   or within 4 % of twice, three times, half or a third of it: the right tempo up to an octave
    OE1, OE2    log2 of their ratio, in octaves; the smallest over the same five factors
    P-score     hits within 8 % of two reference tempi, weighted by how many people tap each (MIREX)

Accuracies are those of Gouyon et al. ("An experimental comparison of audio tempo induction algorithms", 2006), octave
errors those of Schreiber and Müller ("Musical tempo and key estimation using convolutional neural networks with
directional filters", 2019). `mir_eval.tempo.detection` is the P-score; with one reference, one estimate and a
tolerance of 4 % its flag for one correct tempo is Accuracy1. Accuracy2 and octave errors it does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

TOLERANCE = 0.04
WIDE_TOLERANCE = 0.08  # of MIREX, and of some who report an accuracy without a number
FACTORS = (1.0, 2.0, 3.0, 1 / 2, 1 / 3)
FACTOR_NAMES = ("1", "2", "3", "1/2", "1/3")
MEANING = (
    "Accuracy0: the same whole number of BPM; Accuracy1: within 4 % of the reference; Accuracy2: within 4 % of it, its "
    "double, triple, half or third; per song"
)


def correct(
    estimates: np.ndarray,
    references: np.ndarray,
    factors: Sequence[float] = (1.0,),
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """Which estimates are near a reference times any of the factors; booleans in the common shape."""
    expected = np.multiply.outer(np.asarray(factors, dtype=np.float64), np.asarray(references, dtype=np.float64))
    return (np.abs(expected - np.asarray(estimates, dtype=np.float64)) / expected <= tolerance).any(axis=0)


def same_number(estimates: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Which estimates are the reference once both are rounded: what Accuracy0 counts."""
    return np.rint(estimates) == np.rint(references)


def octave_errors(estimates: np.ndarray, references: np.ndarray, factors: Sequence[float] = (1.0,)) -> np.ndarray:
    """log2 of estimate over reference, float64 `[items]`; of several factors of the reference the smallest one."""
    ratio = np.asarray(estimates, np.float64) / np.asarray(references, np.float64)
    errors = np.log2(np.multiply.outer(1 / np.asarray(factors, np.float64), ratio))
    return np.take_along_axis(errors, np.abs(errors).argmin(axis=0)[None], axis=0)[0]


def octave_shares(estimates: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Share of the estimates within 4 % of every factor of the reference, by `FACTOR_NAMES`; the rest as `other`."""
    shares = {
        name: float(correct(estimates, references, (factor,)).mean())
        for name, factor in zip(FACTOR_NAMES, FACTORS, strict=True)
    }
    return shares | {"other": float(1 - correct(estimates, references, FACTORS).mean())}


def p_scores(estimates: np.ndarray, references: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`mir_eval.tempo.detection` of every item, tolerance 8 %.

    Args:
        estimates: Two a item, BPM, `[items, 2]`.
        references: Two a item, `[items, 2]`; with a single annotated tempo the other is 0, which nothing hits.
        weights: Of the first reference, 0..1, `[items]`; 1 with a single annotated tempo.

    Returns:
        `[items]`, 0..1.
    """
    from mir_eval.tempo import detection

    rows = zip(np.asarray(estimates), np.asarray(references), np.asarray(weights), strict=True)
    return np.array([detection(wanted, weight, found)[0] for found, wanted, weight in rows])


def with_one_reference(references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """References and weights of `p_scores` where one tempo is annotated: `[items]` to `[items, 2]` and `[items]`."""
    return np.stack([references, np.zeros_like(references)], axis=1), np.ones(len(references))


def per_item(estimates: np.ndarray, references: np.ndarray) -> Mapping[str, np.ndarray]:
    """What most metrics are means of, `[items]` each."""
    one, two = octave_errors(estimates, references), octave_errors(estimates, references, FACTORS)
    return {
        "accuracy0": same_number(estimates, references),
        "accuracy1": correct(estimates, references),
        "accuracy2": correct(estimates, references, FACTORS),
        "accuracy_8_percent": correct(estimates, references, tolerance=WIDE_TOLERANCE),
        "oe1": one,
        "oe1_abs": np.abs(one),
        "oe2": two,
        "oe2_abs": np.abs(two),
    }
