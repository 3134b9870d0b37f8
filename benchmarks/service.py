"""The HTTP service beside the same network in this process: one request alone, and many clients at once.

    python -m benchmarks.service [--checkpoint FILE] [--files 32] [--clients 16] [--rounds 15] [--export FILE.onnx]

Files are mp3 of a minute, composed here. In process, a request is the decoding of the file and `Encoder.predict`. The
throughput to compare with is that of the command `predict` over the same files, once its network is loaded, and without
its tables and pictures. Clients and service share the processors.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import psutil
import soundfile
import torch

from benchmarks.machine import describe
from experiments.encoder import Encoder
from experiments.inference.audio_files import audio_named, decoded, decoder_of
from experiments.inference.network_predictor import network_predictor
from experiments.settings import PretrainSettings
from models.running import in_batches

SECONDS, RATE = 60, 44_100
BATCH = 16  # windows, as of the command and the service
ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


def main() -> None:
    """Runs both comparisons and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="won_fcn_mtt", help="a file, a run or a release (default: won_fcn_mtt)")
    parser.add_argument("--files", type=int, default=32, help="of a minute (default: 32)")
    parser.add_argument("--clients", type=int, default=16, help="at once (default: 16)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of a request alone (default: 15)")
    parser.add_argument("--export", help="an ONNX file of the same network, to be served in its place")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        files = composed(Path(folder) / "songs", arguments.files)
        encoder = Encoder.load(arguments.checkpoint)
        with serving(arguments.export or arguments.checkpoint, bool(arguments.export)) as (port, process):
            alone(encoder, files, port, arguments.rounds)
            at_once(arguments.checkpoint, files, port, arguments.clients)
            print(f"memory of the service: {memory(process) / 2**20:,.0f} MB, its decoders included")


def composed(folder: Path, count: int) -> list[Path]:
    """Files of a minute: chords of harmonics under noise, each another one."""
    folder.mkdir()
    time_axis = np.arange(SECONDS * RATE) / RATE
    paths = []
    for number in range(count):
        generator = np.random.default_rng(number)
        pitches = 110 * 2 ** (generator.integers(0, 36, (3, SECONDS)) / 12)
        tones = sum(np.sin(2 * np.pi * np.cumsum(np.repeat(row, RATE)) / RATE) for row in pitches)
        noise = generator.standard_normal(len(time_axis)) * (0.5 + 0.5 * np.sin(2 * np.pi * 2 * time_axis))
        paths.append(folder / f"{number}.mp3")
        soundfile.write(paths[-1], 0.1 * tones + 0.05 * noise, RATE)
    return paths


@contextmanager
def serving(source: str, onnx: bool) -> Iterator[tuple[int, subprocess.Popen]]:
    """The service as a user starts it; yields its port."""
    options = [f"service.models.tags={source}", "service.port=0", f"inference.batch_size={BATCH}"]
    options += ["service.engine=onnx"] if onnx else []
    command = [sys.executable, "ex_transfer.py", "-u", "serve", "with", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        port = next(int(found[1]) for line in process.stdout if (found := ADDRESS.search(line)))
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def request(port: int, file: Path) -> float:
    """Seconds from the request to the whole answer."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/v1/tags/predict", file.read_bytes(), {"Content-Type": "audio/mpeg"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{file}: {response.status} {body[:300]!r}")
    return time.perf_counter() - start


def alone(encoder: Encoder, files: Sequence[Path], port: int, rounds: int) -> None:
    """One request after another, in turns with the same work in this process."""
    decode, rate = decoder_of(encoder), encoder.frontend.sample_rate

    def in_process(file: Path) -> float:
        start = time.perf_counter()
        encoder.predict(decode(file)[0].frames, rate)
        return time.perf_counter() - start

    ours, service = [], []
    for turn in range(rounds + 1):
        file = files[turn % len(files)]
        pair = in_process(file), request(port, file)
        if turn:  # the first one warms up
            ours.append(pair[0])
            service.append(pair[1])
    p50 = statistics.median(service), statistics.median(ours)
    print(
        f"one request alone, p50: {p50[0] * 1000:.0f} ms, in process {p50[1] * 1000:.0f} ms, "
        f"{p50[0] / p50[1]:.2f} times (bar: 1.3)"
    )


def at_once(checkpoint: str, files: Sequence[Path], port: int, clients: int) -> None:
    """Many clients, beside the command `predict`."""
    times, wall = hammered(port, files, clients)
    offline = predicted(checkpoint, files)
    p50, p99 = np.quantile(times, [0.5, 0.99])
    print(
        f"{clients} clients: {len(files) / wall:.2f} files/s, predict {len(files) / offline:.2f}, "
        f"{offline / wall:.2f} times (bar: 0.9); p50 {p50:.2f} s, p99 {p99:.2f} s, {p99 / p50:.1f} times (bar: 10)"
    )


def hammered(port: int, files: Sequence[Path], clients: int) -> tuple[list[float], float]:
    """Seconds of every request of clients that send one after another until all files are sent, and of the whole."""
    queue: SimpleQueue[Path] = SimpleQueue()
    for file in files:
        queue.put(file)
    times: list[float] = []

    def client() -> None:
        while True:
            try:
                file = queue.get_nowait()
            except Empty:
                return
            times.append(request(port, file))

    start = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != len(files):
        raise RuntimeError(f"{len(files) - len(times)} requests failed")
    return times, time.perf_counter() - start


def predicted(checkpoint: str, files: Sequence[Path]) -> float:
    """Seconds that the work of the command `predict` takes: windows of all files in full batches, without its tables
    and pictures."""
    settings = PretrainSettings(inference={"audio": str(files[0].parent), "checkpoint": checkpoint})
    predictor = network_predictor(settings, len(files))
    start = time.perf_counter()
    tracks = (
        predictor.opened(file.path.name, rows[0].frames)
        for file, rows in decoded(audio_named(settings.inference.audio), predictor.encoder, jobs=1)
    )
    done = [predictor.prediction(track) for track in in_batches(tracks, predictor.run_batch, BATCH)]
    if len(done) != len(files):
        raise RuntimeError(f"{len(files) - len(done)} files were not predicted")
    return time.perf_counter() - start


def memory(process: subprocess.Popen) -> int:
    """Bytes of a process and of those that it started, shared pages counted once."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(one.memory_full_info().pss for one in family)


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()
