"""What is computed of whole tracks, one row a track: statistics in place of a network, and predictions of a task.

A representation is worth something only beside these: chroma and MFCC statistics are the hand-made features of
Castellon, Donahue and Liang ("Codified audio language modeling learns useful representations for music information
retrieval", ISMIR 2021); `librosa`'s tempo and templates of keys are predictions without any training. Each is a
row of `SUMMARIES`, and its name is taken wherever the name of a front end is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from datasets.store_format import Header
from models.fingerprint import fingerprint
from preprocess import compiled
from preprocess.tracks import SILENCE, DecodedTrack, audible, encoded_clips, middle

SAMPLE_RATE, HOP = 22_050, 512
SHORTEST = 0.5  # seconds: below it the constant-Q filters of low tones see little but padding
SLOWEST, FASTEST = 30, 285  # BPM, of the classes of tempo
TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)
# How well every tone fits a key, from its tonic up; major, then minor.
KRUMHANSL = (  # probe-tone ratings: Krumhansl and Kessler, Psychological Review 89 (1982); Krumhansl 1990, table 2.1
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
TEMPERLEY = (  # Temperley, "What's key for key?", Music Perception 17 (1999), figure 5
    (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0),
    (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0),
)


@dataclass(frozen=True)
class Summary:
    """A rule that makes one vector of a track.

    Attributes:
        kind: Of the store it is kept in, `embeddings` or `predictions`.
        size: Values of the vector.
        units: What they are.
        vector: Samples [n] float32 at `SAMPLE_RATE`, peak 1, to [size].
        producer: What tells this rule from others.
    """

    kind: str
    size: int
    units: str
    vector: Callable[[np.ndarray], np.ndarray]
    producer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Of a row of the store: embeddings have tokens, one of them here."""
        return (1, self.size) if self.kind == "embeddings" else (self.size,)


def header(name: str) -> Header:
    """What a store of a summary says of itself."""
    summary = SUMMARIES[name]
    producer = {
        "encoder": name,
        "source": f"librosa {'.'.join(version('librosa').split('.')[:2])}",
        "sample_rate": SAMPLE_RATE,
        "hop": HOP,
        "resampler": "soxr HQ",
        "level": "peak 1",
        **summary.producer,
    }
    return Header(summary.kind, summary.item_shape, "float32", summary.units, producer, fingerprint(producer))


def summarise(samples: np.ndarray, name: str) -> np.ndarray:
    """One row of a summary: samples [n] float32 at `SAMPLE_RATE`, of any level, to float32 [1, *item_shape].

    What is silent, as a clip of a longer track can be, is raised to peak 1 from `SILENCE` at most.
    """
    compiled.prepare(name)
    summary = SUMMARIES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of windows that are longer than a short track
        vector = np.asarray(summary.vector(samples / max(np.abs(samples).max(), SILENCE)), dtype=np.float32)
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} has {np.isnan(vector).sum()} of {vector.size} values that are not finite")
    return vector.reshape(1, *summary.item_shape)


def summary_track(path: str | Path, name: str, max_seconds: float | None = None) -> DecodedTrack:
    """Decode a file and summarise it.

    Args:
        path: Audio file.
        name: Key of `SUMMARIES`.
        max_seconds: Look at the middle of a longer track; None looks at all of it.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent or shorter than `SHORTEST`.
    """
    notes: list[str] = []
    samples = audible(path, SAMPLE_RATE, SHORTEST, notes)
    kept = middle(samples, max_seconds, SAMPLE_RATE, round(SHORTEST * SAMPLE_RATE))
    return DecodedTrack(summarise(kept, name), len(samples) / SAMPLE_RATE, tuple(notes))


def summary_clips(path: str | Path, name: str, clip_seconds: float) -> list[DecodedTrack]:
    """Decode a file and summarise its clips, each by itself; errors as of `preprocess.tracks.clips`."""
    return encoded_clips(path, SAMPLE_RATE, clip_seconds, lambda clip: summarise(clip, name))


def moments(frames: np.ndarray) -> np.ndarray:
    """Mean and population deviation over time of features and of their first and second differences.

    Args:
        frames: [bands, frames], 3 frames or more.

    Returns:
        [6 * bands]: mean and deviation of the features, of the first difference, of the second.
    """
    orders = [np.diff(frames, n=order, axis=1) for order in range(3)]
    return np.concatenate([part for one in orders for part in (one.mean(axis=1), one.std(axis=1))])


def chroma(samples: np.ndarray) -> np.ndarray:
    """Moments of constant-Q chroma: [n] to [72]."""
    import librosa

    return moments(librosa.feature.chroma_cqt(y=samples, sr=SAMPLE_RATE, hop_length=HOP))


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Moments of 20 mel-frequency cepstral coefficients: [n] to [120]."""
    import librosa

    return moments(librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, hop_length=HOP))


def tempo(samples: np.ndarray) -> np.ndarray:
    """The strongest tempo of `librosa.feature.tempo`, BPM: [n] to [1]."""
    import librosa

    return librosa.feature.tempo(y=samples, sr=SAMPLE_RATE, hop_length=HOP)[:1]


def tempo_class(samples: np.ndarray) -> np.ndarray:
    """The same as one of the classes of tempo, the nearest: 1 there, 0 elsewhere; [n] to [256]."""
    one_hot = np.zeros(FASTEST - SLOWEST + 1)
    one_hot[round(min(max(float(tempo(samples)[0]), SLOWEST), FASTEST)) - SLOWEST] = 1.0
    return one_hot


def match_keys(chroma: np.ndarray, profiles: tuple[tuple[float, ...], tuple[float, ...]]) -> np.ndarray:
    """Correlation of a distribution of pitch classes with the profile of every key.

    The algorithm of Krumhansl and Schmuckler (Krumhansl, "Cognitive Foundations of Musical Pitch", 1990, chapter 4).

    Args:
        chroma: [12] from C up.
        profiles: Of major and of minor keys.

    Returns:
        Probabilities [24] in the order of `KEYS`: the softmax of the correlations, all of them equal for a flat chroma.
    """
    keys = np.array([np.roll(profile, tonic) for profile in profiles for tonic in range(12)])
    centred, keys = chroma - chroma.mean(), keys - keys.mean(axis=1, keepdims=True)
    size = np.linalg.norm(centred) * np.linalg.norm(keys, axis=1)
    powers = np.exp(np.divide(keys @ centred, size, out=np.zeros(len(keys)), where=size > 0))
    return powers / powers.sum()


def krumhansl(samples: np.ndarray) -> np.ndarray:
    """Keys by the profiles of Krumhansl and Kessler: [n] to [24]."""
    return match_keys(_pitch_classes(samples), KRUMHANSL)


def temperley(samples: np.ndarray) -> np.ndarray:
    """Keys by the profiles of Temperley: [n] to [24]."""
    return match_keys(_pitch_classes(samples), TEMPERLEY)


def _pitch_classes(samples: np.ndarray) -> np.ndarray:
    """Mean chroma of the short-time spectrum: tells keys as well as constant-Q chroma, in a quarter of the time."""
    import librosa

    return librosa.feature.chroma_stft(y=samples, sr=SAMPLE_RATE, hop_length=HOP).mean(axis=1)


_MOMENTS = "mean and deviation of {}, its first and its second difference"
_KEY = {"task": "key", "classes": list(KEYS), "chroma": "stft"}
SUMMARIES: dict[str, Summary] = {
    "chroma": Summary("embeddings", 72, _MOMENTS.format("chroma"), chroma, {"tokens": [""], "chroma": "cqt"}),
    "mfcc": Summary("embeddings", 120, _MOMENTS.format("MFCC"), mfcc, {"tokens": [""], "coefficients": 20}),
    "librosa_tempo": Summary("predictions", 256, "1 at the tempo in BPM", tempo_class, {"task": "tempo"}),
    "librosa_tempo_regression": Summary("predictions", 1, "BPM", tempo, {"task": "tempo_regression"}),
    "key_krumhansl": Summary("predictions", 24, "softmax of correlations", krumhansl, _KEY | {"profiles": KRUMHANSL}),
    "key_temperley": Summary("predictions", 24, "softmax of correlations", temperley, _KEY | {"profiles": TEMPERLEY}),
}
