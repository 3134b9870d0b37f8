"""Changes of audio that leave what is heard in it: is a network that was never trained on them still right?

The four kinds and their strengths are those of Won et al., "Evaluation of CNN-based automatic music tagging models",
SMC 2020, section 5: time-stretch by 2^-0.5 and 2^0.5, a semitone down and up, dynamic-range compression as broadcasters
set it, white noise of weight 0.1 to 0.4. They are applied to whole tracks, mono, float32 of full scale 1.

Time and pitch follow `librosa.effects` to rounding, without its compiled functions, whose first use takes as long as a
hundred tracks; compression follows `compand` of SoX, whose points muda has as presets (McFee et al., ISMIR 2015); noise
follows muda.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch

N_FFT, HOP = 2048, 512
Perturbation = Callable[[np.ndarray, int, str], np.ndarray]  # audio, sample rate in Hz, name of the track


def time_stretch(audio: np.ndarray, rate: float) -> np.ndarray:
    """Play faster at the same pitch, by a phase vocoder (Flanagan and Golden, 1966).

    Args:
        audio: `[samples]` float32.
        rate: Above 1 is faster.

    Returns:
        `[round(samples / rate)]` float32.
    """
    window = torch.hann_window(N_FFT)
    frames = torch.stft(
        torch.from_numpy(audio), N_FFT, HOP, window=window, pad_mode="constant", center=True, return_complex=True
    )
    steps = torch.arange(0, frames.shape[1], rate, dtype=torch.float64)
    first, share = steps.long(), (steps % 1).float()
    frames = torch.nn.functional.pad(frames, (0, 2))
    level, angle = frames.abs(), frames.angle().double()
    expected = 2 * math.pi * HOP / N_FFT * torch.arange(N_FFT // 2 + 1, dtype=torch.float64)[:, None]
    ahead = angle[:, first + 1] - angle[:, first] - expected
    ahead = expected + ahead - 2 * math.pi * torch.round(ahead / (2 * math.pi))
    phase = torch.cat([angle[:, :1], angle[:, :1] + ahead.cumsum(1)[:, :-1]], dim=1) % (2 * math.pi)
    between = level[:, first] + share * (level[:, first + 1] - level[:, first])
    stretched = torch.polar(between, phase.float())
    return torch.istft(stretched, N_FFT, HOP, window=window, center=True, length=round(len(audio) / rate)).numpy()


def pitch_shift(audio: np.ndarray, sample_rate: int, semitones: float) -> np.ndarray:
    """Move the pitch at the same length: stretched in time, and resampled.

    Args:
        audio: `[samples]` float32.
        sample_rate: Hz.
        semitones: Above 0 is up.

    Returns:
        `[samples]` float32.
    """
    rate = 2.0 ** (-semitones / 12)
    moved = soxr.resample(time_stretch(audio, rate), sample_rate / rate, sample_rate, "HQ")[: len(audio)]
    return np.pad(moved, (0, len(audio) - len(moved)))


@dataclass(frozen=True)
class Compressor:
    """A compressor by a curve of levels, as `compand` of SoX has it.

    Attributes:
        attack: Seconds in which the measured level rises by 63 %.
        decay: The same for a level that falls.
        points: Levels in and out, dB of full scale, rising; between two of them the curve is straight, and outside of
            all the gain is that of the nearest.
        gain: dB, of everything.
        ahead: Seconds by which the level is measured before its gain is due.
    """

    attack: float
    decay: float
    points: Sequence[tuple[float, float]]
    gain: float = 0.0
    ahead: float = 0.0

    def gains(self, level: np.ndarray) -> np.ndarray:
        """The gain in dB of every level in dB."""
        levels, out = np.array(self.points).T
        return np.interp(level, levels, out - levels) + self.gain


# Dolby's presets for broadcasting (Dolby E) as points of `compand`, the numbers of muda 0.4.1.
COMPRESSORS: Mapping[str, Compressor] = {
    "music_standard": Compressor(
        0.1, 0.3, ((-90, -90), (-70, -58), (-55, -43), (-31, -31), (-21, -21), (0, -20)), ahead=0.1
    ),
    "film_standard": Compressor(
        0.1, 0.3, ((-90, -90), (-70, -64), (-43, -37), (-31, -31), (-21, -21), (0, -20)), ahead=0.1
    ),
    "speech": Compressor(0.1, 0.3, ((-90, -90), (-70, -55), (-50, -35), (-31, -31), (-21, -21), (0, -20)), ahead=0.1),
    "radio": Compressor(0.01, 1.0, ((-90, -90), (-70, -70), (-60, -20), (0, 0)), gain=-5.0),
}


def compress(audio: np.ndarray, sample_rate: int, compressor: Compressor) -> np.ndarray:
    """Reduce the dynamic range; what is over full scale then is clipped.

    Args:
        audio: `[samples]` float32.
        sample_rate: Hz.
        compressor: Curve and times.

    Returns:
        `[samples]` float32.
    """
    level = measured_level(audio, sample_rate, compressor)
    gains = compressor.gains(20 * np.log10(np.maximum(level, 1e-10)))
    ahead = min(round(compressor.ahead * sample_rate), len(audio) - 1)
    gains = np.pad(gains[ahead:], (0, ahead), mode="edge")
    return np.clip(audio * 10 ** (gains / 20), -1, 1).astype(np.float32)


def measured_level(audio: np.ndarray, sample_rate: int, compressor: Compressor) -> np.ndarray:
    """The level of every sample, `[samples]`, that follows its magnitude at the rates of attack and decay.

    It begins at full scale, as that of SoX.
    """
    rise, fall = (1 - math.exp(-1 / (sample_rate * seconds)) for seconds in (compressor.attack, compressor.decay))
    level, levels = 1.0, []
    for magnitude in np.abs(audio).tolist():  # each depends on the one before: plain floats are the fastest
        level += (magnitude - level) * (rise if magnitude > level else fall)
        levels.append(level)
    return np.array(levels)


def add_noise(audio: np.ndarray, weight: float, name: str) -> np.ndarray:
    """Mix with white noise, peak against peak, at the level of the audio.

    In muda both are brought to full scale first, which changes the level of the track as well; the code of Won et al.
    adds noise of a deviation of 0.1 to 0.4 of full scale, however quiet the track is.

    Args:
        audio: `[samples]` float32.
        weight: Of the noise; the rest is that of the audio.
        name: Of the track; the same name, the same noise.

    Returns:
        `[samples]` float32.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    noise = np.random.default_rng(seed).standard_normal(len(audio), dtype=np.float32)
    noise *= np.abs(audio).max() / np.abs(noise).max()
    return (1 - weight) * audio + weight * noise


# Kind -> its strengths, by the name that tables give them.
PERTURBATIONS: Mapping[str, Mapping[str, Perturbation]] = {
    "time_stretch": {
        "time_stretch_0.71": lambda audio, rate, name: time_stretch(audio, 2**-0.5),
        "time_stretch_1.41": lambda audio, rate, name: time_stretch(audio, 2**0.5),
    },
    "pitch": {
        "pitch_down_1": lambda audio, rate, name: pitch_shift(audio, rate, -1),
        "pitch_up_1": lambda audio, rate, name: pitch_shift(audio, rate, 1),
    },
    "compression": {
        f"compression_{preset}": lambda audio, rate, name, chosen=compressor: compress(audio, rate, chosen)
        for preset, compressor in COMPRESSORS.items()
    },
    "noise": {
        f"noise_{weight}": lambda audio, rate, name, weight=weight: add_noise(audio, weight, name)
        for weight in (0.1, 0.2, 0.4)
    },
}


def apply(name: str, audio: np.ndarray, sample_rate: int, track: str) -> np.ndarray:
    """Change audio.

    Args:
        name: Of the change, in any row of `PERTURBATIONS`.
        audio: `[samples]` float32.
        sample_rate: Hz.
        track: Its name, which decides what is random.

    Returns:
        `[samples]` float32.
    """
    changes = {one: change for kinds in PERTURBATIONS.values() for one, change in kinds.items()}
    return changes[name](audio, sample_rate, track)
