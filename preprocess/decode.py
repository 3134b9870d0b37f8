"""An audio file to mono samples at the rate a front end wants, whole or block by block.

Channels are averaged by one product with a vector. Resampling is soxr's HQ filter (aliases below -120 dB), fed by
blocks, which gives the very samples of resampling the whole. However long the file, `stream` holds one block of it.

A truncated or damaged file gives what can be decoded of it, with a note; NaN, Inf and audio scaled to the range of
integers are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr

from datasets.wording import printable
from preprocess.sources import AudioError, Source, open_source

LOUDEST = 100.0  # full scale is 1: audio beyond this was scaled to integers, or is not audio

logger = logging.getLogger(__name__)


def load(path: str | Path, sample_rate: int) -> np.ndarray:
    """Decode a whole file.

    Args:
        path: Audio file.
        sample_rate: Hz of the result.

    Returns:
        [samples] float32 mono, full scale 1. A truncated file gives what is left of it, and a warning in the log.

    Raises:
        AudioError: No such file, no audio, no samples, NaN, Inf or far over full scale.
    """
    notes: list[str] = []
    samples = np.concatenate(list(stream(path, sample_rate, notes)))
    for note in notes:
        logger.warning("%s: %s", printable(path), printable(note))
    return samples


def stream(path: str | Path, sample_rate: int, notes: list[str] | None = None) -> Iterator[np.ndarray]:
    """Decode a file block by block.

    Args:
        path: Audio file.
        sample_rate: Hz of the result.
        notes: Takes remarks on a file that was decoded only in part.

    Yields:
        [n] float32 mono; together they are what `load` returns.

    Raises:
        AudioError: As `load`; possibly only after some blocks.
    """
    source = open_source(Path(path))
    resampler = None
    if source.sample_rate != sample_rate:
        resampler = soxr.ResampleStream(source.sample_rate, sample_rate, 1, "float32", "HQ")
    decoded = 0
    for mono in _mono(source, path, notes if notes is not None else []):
        decoded += len(mono)
        yield _finite(resampler.resample_chunk(mono) if resampler else mono, path)
    if not decoded:
        raise AudioError(path, "no samples: no audio follows the header")
    if resampler:
        yield _finite(resampler.resample_chunk(np.empty(0, np.float32), last=True), path)


def _finite(samples: np.ndarray, path: str | Path) -> np.ndarray:
    """Refuse NaN, Inf and what would become so in a power spectrum, at the cost of one pass over the samples."""
    with np.errstate(over="ignore", invalid="ignore"):
        energy = samples @ samples
    if not energy < LOUDEST**2 * max(len(samples), 1):
        raise AudioError(path, f"NaN, Inf or far over full scale: mean energy {energy / len(samples):.1e} in a block")
    return samples


def _mono(source: Source, path: str | Path, notes: list[str]) -> Iterator[np.ndarray]:
    """Mean of the channels, [n] float32 a block; a file that breaks off after some blocks gets a note instead."""
    weights = np.full(source.channels, 1 / source.channels, np.float32)
    decoded, damage = 0, ""
    try:
        for block in source.blocks:
            decoded += len(block)
            yield block @ weights
    except AudioError as error:
        if not decoded:
            raise
        damage = error.reason
    if damage or decoded < 0.95 * source.frames:
        seconds = decoded / source.sample_rate
        promised = f" of {source.frames / source.sample_rate:.1f} s in the header" if source.frames else ""
        notes.append(f"{damage or 'truncated'}: kept {seconds:.1f} s{promised}")
