"""Memory and time of an extraction over very many short tracks, and its rate from stored audio.

    python -m benchmarks.extraction [--tracks 1000 10000 100000]

Neither memory nor time a track may grow with the number of tracks. Every size runs in a process of its own: a store of
synthetic tracks of one window each, a tiny network on one thread, the real extraction. Memory is what the process holds
for itself (`RssAnon`: without the pages of mapped files, which the system takes back at will), sampled while it runs,
less what it held before the store was opened.

From stored audio, the front end is computed with the network: the second table has the rate of the extraction beside
that of the network alone, on features that lie in memory, in turns and with one thread.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import race
from datasets.store import Header, Store, StoreWriter
from experiments.encoder import Encoder
from experiments.inference.batching import Job, Output
from experiments.inference.extraction import extract, header
from models.maest import MAEST
from models.running import tokens_of
from preprocess import audio

FRAMES = BANDS = 16
WINDOWS, BATCH, ROUNDS = 64, 8, 5  # of the rate from audio


def make_store(folder: Path, tracks: int) -> None:
    """A store of short log-mels with names as long as usual ones."""
    mel = np.random.default_rng(0).standard_normal((FRAMES, BANDS)).astype(np.float16)
    with StoreWriter(folder, Header("mel", (BANDS,), producer={}, fingerprint="synthetic")) as writer:
        for number in range(tracks):
            writer.append(f"{number % 1000:03d}/an album of some kind/{number:07d}.ogg", mel, source=f"{number}.ogg")


def private_bytes() -> int:
    """What this process holds for itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


class MemorySampler(threading.Thread):
    """The most private bytes seen."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.over = private_bytes(), threading.Event()

    def run(self) -> None:
        """Look 50 times a second."""
        while not self.over.wait(0.02):
            self.most = max(self.most, private_bytes())


def one(folder: Path) -> None:
    """Extract a store and print bytes and seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = MAEST(n_bands=BANDS, n_frames=FRAMES, dim=16, depth=1, heads=1, n_classes=4)
    encoder = Encoder.of(network, device="cpu")
    run_batch = encoder.runner(partial(tokens_of, layers=["block_00"]), torch.float16)
    run_batch(torch.zeros(64, FRAMES, BANDS))
    output = Output(folder / "embeddings", header("embeddings", (3, 16), "", {}))
    before = private_bytes()
    sampler = MemorySampler()
    sampler.start()
    began = time.perf_counter()
    store = Store(folder / "mels")
    report = extract(Job(store, encoder.windowing(), run_batch, [output], 64), store.ids)
    seconds = time.perf_counter() - began
    sampler.over.set()
    sampler.join()
    if report.written != len(store):
        raise SystemExit(f"{report.written} of {len(store)} tracks were written")
    print(sampler.most - before, seconds)


def rates(scratch: Path) -> dict[str, float]:
    """Windows a second: of a network of 10 s alone, and of its extraction from stored audio."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = Encoder.of(MAEST(n_frames=625, dim=192, depth=12, heads=3), device="cpu")
    layers = [encoder.network.layer_names[-1]]
    forward, whole = partial(tokens_of, layers=layers), encoder.fed(audio=True)
    rows, rate = whole.windowing().rows, encoder.frontend.sample_rate
    rng = np.random.default_rng(0)
    with StoreWriter(scratch / "audio", audio.header(rate)) as writer:
        for number in range(WINDOWS):
            writer.append(f"{number}.ogg", rng.integers(-9000, 9000, rows).astype(np.int16))
    store, features = Store(scratch / "audio"), torch.randn(BATCH, 625, 96).half()
    network = encoder.runner(forward, torch.float16)
    made = header("embeddings", (3, 192), "", {})

    def from_audio() -> None:
        shutil.rmtree(scratch / "out", ignore_errors=True)
        job = Job(
            store, whole.windowing(), whole.runner(forward, torch.float16), [Output(scratch / "out", made)], BATCH
        )
        extract(job, store.ids)

    def alone() -> None:
        for _ in range(WINDOWS // BATCH):
            network(features)

    timings = race({"network alone": alone, "extraction from stored audio": from_audio}, ROUNDS)
    return {name: WINDOWS / statistics.median(turn.wall for turn in turns) for name, turns in timings.items()}


def main() -> None:
    """Run every size in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one)
        return
    table = Table(title="extraction of tracks of one window, tiny network, one thread")
    for column in ("tracks", "MB above the start", "bytes a further track", "ms a track"):
        table.add_column(column, justify="right")
    before: tuple[int, int] | None = None
    for tracks in options.tracks:
        with tempfile.TemporaryDirectory() as scratch:
            make_store(Path(scratch) / "mels", tracks)
            command = [sys.executable, "-m", "benchmarks.extraction", "--one", scratch]
            words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        most, seconds = int(words[0]), float(words[1])
        slope = f"{(most - before[1]) / (tracks - before[0]):.0f}" if before else ""
        table.add_row(f"{tracks:,}", f"{most / 1e6:.1f}", slope, f"{1e3 * seconds / tracks:.2f}")
        before = (tracks, most)
    Console(width=100).print(table)
    with tempfile.TemporaryDirectory() as scratch:
        measured = rates(Path(scratch))
    table = Table(title="windows of 10 s a second, 12 blocks of width 192, one thread")
    for column in ("", "windows a second", "of the network's own rate"):
        table.add_column(column, justify="right")
    for name, rate in measured.items():
        table.add_row(name, f"{rate:.2f}", f"{rate / measured['network alone']:.0%}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
