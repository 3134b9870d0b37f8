"""What a network is to be better than: librosa, a constant, and the tempo that annotated beats give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from joblib import effective_n_jobs

from datasets.progress import progress
from datasets.store import Reader, stated
from datasets.workers import mapped
from experiments.tasks.tempo_metrics import correct
from preprocess.arrays import mono
from preprocess.sources import AudioError
from preprocess.summaries import SAMPLE_RATE, SHORTEST, summarise
from preprocess.tracks import audible

USUAL = 120.0  # BPM: the constant where no training tracks say a better one
ONSETS = "onset"  # name of a front end
LIBROSA = "librosa_tempo_regression"  # key of `preprocess.summaries.SUMMARIES`
FEW, AHEAD = 4, 64  # tracks a process, below which starting processes takes longer; tracks computed ahead


def best_constant(tempi: np.ndarray) -> float:
    """The tempo, to half a BPM, that is right most often (Accuracy1); the lowest of equals, 120 without any tempi."""
    if not len(tempi):
        return USUAL
    candidates = np.arange(np.floor(tempi.min()), np.ceil(tempi.max()) + 1, 0.5)
    right = [correct(np.full(len(tempi), one), tempi).mean() for one in candidates]
    return float(candidates[int(np.argmax(right))])


def librosa_tempi(audio: Sequence[Path | None] | Reader, tracks: Sequence[str], jobs: int) -> np.ndarray:
    """`librosa.feature.tempo` of whole tracks, BPM `[tracks]`; NaN where a track has no audio or none can be read.

    Args:
        audio: The file of every track, or a store of audio.
        tracks: Their ids in the store.
        jobs: Processes, as joblib counts them.
    """
    of_store = not isinstance(audio, Sequence)
    function: Callable[[Any], float] = partial(_of_store, audio) if of_store else _of_file
    processes, tempi = min(effective_n_jobs(jobs), len(tracks) // FEW), []
    with progress("librosa's tempo", len(tracks), "tracks") as advance:
        for tempo in mapped(function, tracks if of_store else audio, processes, AHEAD):
            tempi.append(tempo)
            advance()
    return np.array(tempi)


def holds_onsets(features: Reader) -> bool:
    """Whether a store holds onset envelopes."""
    return (features.header.producer or {}).get("front_end") == ONSETS


def envelope_tempi(features: Reader, tracks: Sequence[str]) -> np.ndarray:
    """What librosa's rule finds in stored onset envelopes, BPM `[tracks]`; NaN where there is no onset."""
    import torch

    from models.rhythm.envelope_tempo import envelope_tempo

    rate = stated(features, "sample_rate", "a number above 0") / stated(features, "hop", "a number above 0")
    envelopes = (torch.from_numpy(np.array(features.read(track), np.float32)) for track in tracks)
    return np.array([float(envelope_tempo(one, rate)) for one in envelopes])


def librosa_tempo(samples: np.ndarray) -> float:
    """The tempo of samples at `SAMPLE_RATE`, BPM."""
    return float(np.ravel(summarise(samples, LIBROSA))[0])


def _of_file(path: Path | None) -> float:
    try:
        return np.nan if path is None else librosa_tempo(audible(path, SAMPLE_RATE, SHORTEST, []))
    except (AudioError, ValueError):
        return np.nan


def _of_store(audio: Reader, track: str) -> float:
    stored = mono(np.asarray(audio.read_crop(track, 0, audio.length(track))))
    samples = soxr.resample(stored, stated(audio, "sample_rate", "a number above 0"), SAMPLE_RATE, "HQ")
    try:
        return librosa_tempo(samples)
    except ValueError:
        return np.nan
