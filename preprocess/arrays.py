"""Audio in memory, of any rate and number of channels, to the rows that a network's windows are cut from."""

from __future__ import annotations

import numpy as np
import soxr
import torch

from models.frontends import FrontEnd
from models.samples import FULL_SCALE
from preprocess.decode import LOUDEST, OPPOSITE
from preprocess.features import transform
from preprocess.sources import AudioError
from preprocess.tracks import SILENCE

BLOCK = 2**18  # samples given to a front end at a time
MOST_CHANNELS = 64
AUDIO = "audio"  # stands for the path in errors


def rows_of(audio: np.ndarray | torch.Tensor, rate: int, frontend: FrontEnd, as_audio: bool) -> np.ndarray:
    """Resample audio, and compute its features.

    Args:
        audio: `[samples]` or `[channels, samples]`, float of full scale 1 or int16.
        rate: Hz.
        frontend: Its sample rate, and the features.
        as_audio: Samples are wanted, not features.

    Returns:
        `[samples]` float32, or `[frames, *item_shape]` float16 as in a store.

    Raises:
        AudioError: Another shape or type, a rate that is none, values that are not finite or far over full scale, or
            too few samples.
    """
    if not rate > 0:
        raise AudioError(AUDIO, f"rate={rate}: give the sample rate in Hz, such as 44100")
    samples = mono(_array(audio))
    if rate != frontend.sample_rate:
        samples = soxr.resample(samples, rate, frontend.sample_rate, "HQ")
    if len(samples) < frontend.min_samples:
        raise AudioError(
            AUDIO,
            f"{len(samples) / frontend.sample_rate:.3f} s is too short: the front end {frontend.name} needs "
            f"at least {frontend.min_samples / frontend.sample_rate:.3f} s",
        )
    if as_audio:
        return samples
    blocks = (samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK))
    with torch.inference_mode():
        return np.concatenate([chunk.half().numpy() for chunk in transform(blocks, frontend)])


def is_silent(audio: np.ndarray | torch.Tensor) -> bool:
    """Whether nothing is to be heard in audio as `rows_of` takes it, by the peak below which no file is taken."""
    return float(np.abs(mono(_array(audio))).max()) < SILENCE


def _array(audio: np.ndarray | torch.Tensor) -> np.ndarray:
    """Audio on the CPU, in a type that numpy has."""
    if isinstance(audio, torch.Tensor):
        audio = audio.detach().cpu()
        audio = (audio.float() if audio.is_floating_point() else audio).numpy()  # numpy has no bfloat16
    return np.asarray(audio)


def mono(audio: np.ndarray) -> np.ndarray:
    """The mean of the channels, or the first where they cancel each other, float32 `[samples]` of full scale 1.

    Args:
        audio: `[samples]` or `[channels, samples]`, float of full scale 1 or int16.

    Raises:
        AudioError: Another shape or type, or values that are not finite or far over full scale.
    """
    if audio.dtype == np.int16:
        audio = audio / np.float32(FULL_SCALE)
    if not np.issubdtype(audio.dtype, np.floating):
        raise AudioError(AUDIO, f"of type {audio.dtype}: give float of full scale 1, or int16")
    if audio.ndim not in (1, 2) or not audio.size:
        raise AudioError(AUDIO, f"of shape {list(audio.shape)}: give [samples] or [channels, samples], not empty")
    if audio.ndim == 2 and len(audio) > MOST_CHANNELS:
        said = f"of shape {list(audio.shape)}: give [channels, samples], at most {MOST_CHANNELS} channels"
        raise AudioError(AUDIO, f"{said}; of [samples, channels], as soundfile reads it, give audio.T")
    audio = np.atleast_2d(audio).astype(np.float32, copy=False)
    if not np.isfinite(audio).all():
        raise AudioError(AUDIO, "holds NaN or Inf: give finite samples")
    mixed = audio.mean(axis=0)
    energy = float(np.vdot(audio, audio))
    if energy > LOUDEST**2 * audio.size:
        raise AudioError(AUDIO, "far over full scale: give floats between -1 and 1, or int16")
    cancelled = len(audio) > 1 and len(audio) ** 2 * float(mixed @ mixed) < OPPOSITE * energy
    return np.ascontiguousarray(audio[0] if cancelled else mixed)
