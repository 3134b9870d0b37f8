"""From an audio file to a stored log-mel, or stored audio: CPU time of one core, beside librosa and Essentia.

    python -m benchmarks.preprocess [AUDIO_FILE ...] [--rounds 9]

Without files it synthesises two minutes of stereo 44.1 kHz as mp3 and ogg. All paths give 96 Slaney bands at 16 kHz and
write float16; they take turns, and each ratio is the median over the rounds. A path competes only if the aliases of its
resampler lie below -80 dB, which is measured on tones above the new Nyquist frequency.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import essentia  # noqa: E402
import librosa  # noqa: E402
import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402

essentia.log.infoActive = False
from essentia import standard as essentia_algorithms  # noqa: E402 - its loading speaks unless told not to

from datasets.audio_checksums import audio_checksum  # noqa: E402
from datasets.store import Store, StoreWriter  # noqa: E402
from models.frontends import build  # noqa: E402
from preprocess.audio import audio_name, audio_track  # noqa: E402
from preprocess.decode import load  # noqa: E402
from preprocess.features import track_features  # noqa: E402
from preprocess.recipes import store_header  # noqa: E402

RATE, ALIAS_LIMIT = 16_000, -80.0
TONES = (9_000, 10_500, 12_000, 15_000, 18_000, 20_000)  # Hz, above 8 kHz and its transition band


def decode(path: Path) -> np.ndarray:
    """Decoding alone, at the file's own rate: what no path can go below."""
    return soundfile.read(path, dtype="float32")[0]


def librosa_samples(path: Path) -> np.ndarray:
    return librosa.load(path, sr=RATE)[0]


def librosa_features(path: Path) -> np.ndarray:
    """librosa at its defaults for loading (soxr HQ), with the same filters."""
    shape = {"n_fft": 512, "hop_length": 256, "n_mels": 96, "fmin": 0, "fmax": 8000, "pad_mode": "constant"}
    mel = librosa.feature.melspectrogram(y=librosa_samples(path), sr=RATE, htk=False, norm="slaney", **shape)
    return np.log10(1 + 10000 * mel).T


def essentia_samples(path: Path, quality: int) -> np.ndarray:
    return essentia_algorithms.MonoLoader(filename=str(path), sampleRate=RATE, resampleQuality=quality)()


def essentia_features(path: Path, quality: int) -> np.ndarray:
    """Essentia as its own examples do it: a loop over frames."""
    algorithm = essentia_algorithms.TensorflowInputMusiCNN()
    samples = essentia_samples(path, quality)
    frames = essentia_algorithms.FrameGenerator(samples, frameSize=512, hopSize=256, startFromZero=False)
    return np.array([algorithm(frame) for frame in frames])


def alias_level(samples: Callable[[Path], np.ndarray], folder: Path) -> float:
    """What is left of the tones that 16 kHz cannot hold: the worst of them, dB relative to the tone."""
    worst = -np.inf
    for hertz in TONES:
        path, t = folder / f"{hertz}.wav", np.arange(2 * 44100) / 44100
        soundfile.write(path, (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32), 44100, subtype="FLOAT")
        inner = samples(path)[4000:-4000]
        worst = max(worst, 20 * np.log10(max(float(np.abs(inner).max()), 1e-12) / 0.5))
    return worst


def synthesise(folder: Path, seconds: int = 120) -> list[Path]:
    """Chords, a bass and noise drums in stereo 44.1 kHz, as mp3 and as ogg."""
    rng, rate = np.random.default_rng(0), 44_100
    t = np.arange(rate) / rate
    files = [folder / "music.mp3", folder / "music.ogg"]
    writers = [soundfile.SoundFile(path, "w", rate, 2) for path in files]
    for _ in range(seconds):
        roots = 110 * 2 ** (rng.integers(0, 24, 4) / 12)
        tones = sum(np.sin(2 * np.pi * root * k * t) / k**1.5 for root in roots for k in range(1, 9))
        drums = rng.standard_normal((2, rate)) * np.exp(-20 * (t % 0.25))
        music = 0.05 * tones * np.exp(-2 * (t % 0.5)) + 0.1 * drums
        for writer in writers:
            writer.write(music.T.astype(np.float32))
    for writer in writers:
        writer.close()
    return files


def measure(path: Path, quality: int, folder: Path, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every path, round by round."""
    frontend, target = build("musicnn"), folder / f"store-{path.name}"
    writer = StoreWriter(target, store_header("musicnn"))
    audio_writer = StoreWriter(folder / f"audio-{path.name}", store_header(audio_name(RATE)))

    def ours(number: int) -> None:
        track = track_features(path, frontend)
        writer.append(str(number), track.frames, str(path), track.seconds, audio_checksum=audio_checksum(path))

    def ours_audio(number: int) -> None:
        track = audio_track(path, RATE)
        audio_writer.append(str(number), track.frames, str(path), track.seconds, audio_checksum=audio_checksum(path))

    def saved(features: np.ndarray) -> None:
        np.save(folder / "peer.npy", features.astype(np.float16))

    paths: dict[str, Callable[[int], object]] = {
        "decoding alone": lambda _: decode(path),
        "ostinato": ours,
        "ostinato, 16-bit audio": ours_audio,
        "librosa": lambda _: saved(librosa_features(path)),
        f"essentia (quality {quality})": lambda _: saved(essentia_features(path, quality)),
    }
    times: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(rounds + 1):
        for name, run in paths.items():
            start = time.process_time()
            run(number)
            if number:  # the first round warms up
                times[name].append(time.process_time() - start)
    writer.close()
    audio_writer.close()
    difference = np.abs(Store(target).read("0") - essentia_features(path, quality)[: Store(target).length("0")])
    seconds = soundfile.info(path).duration
    print(f"\n{path.name}: {seconds:.0f} s; median difference to Essentia {np.median(difference):.1e}")
    return times


def main() -> None:
    """Print aliases, CPU seconds and ratios."""
    parser = argparse.ArgumentParser("python -m benchmarks.preprocess", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="AUDIO_FILE")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("aliases of tones above 8 kHz:")
        print(f"  ostinato {alias_level(lambda path: load(path, RATE), folder):8.1f} dB")
        print(f"  librosa  {alias_level(librosa_samples, folder):8.1f} dB")
        levels = {q: alias_level(lambda path, q=q: essentia_samples(path, q), folder) for q in (4, 3, 2, 1, 0)}
        for quality, level in levels.items():
            print(f"  essentia quality {quality} {level:8.1f} dB")
        quality = next(q for q, level in levels.items() if level < ALIAS_LIMIT)  # from the cheapest
        for path in arguments.files or synthesise(folder):
            times = measure(path, quality, folder, arguments.rounds)
            own = np.array(times["ostinato"])
            for label, seconds in times.items():
                ratio = np.median(np.array(seconds) / own)
                print(f"  {label:24s} {min(seconds):7.3f} s CPU (best)   {ratio:5.2f} x ostinato (median)")
            print(f"  ostinato takes {np.median(own / np.array(times['decoding alone'])):.2f} x decoding alone")


if __name__ == "__main__":
    main()
