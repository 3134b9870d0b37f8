"""Very many files to a store, by a Dask cluster of this machine: time, and memory of the main process.

    python -m benchmarks.million [--tracks 10000 100000 1000000] [--workers 2] [--backend dask] [--folder DIR]

What is measured is everything but decoding: workers store 16 frames of noise for every file, 3 kB, in place of its
features. Files are found, assigned, entered and stored by the code of the command, through a scheduler and workers in
processes of their own (`--backend loky`: joblib's, as without a cluster). The files are links to a few, so that they
take next to no room. Each number of tracks has a main process of its own. Memory is what that holds for itself
(`RssAnon`), less what it held before; the store is then opened by a process that has read nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import preprocess.build
from benchmarks.extraction import MemorySampler, private_bytes
from datasets.store import Store
from datasets.text import printable
from preprocess.cluster import connected
from preprocess.files import Candidate
from preprocess.worker import Attempt, Done, Work

ALBUM, CROPS = 1000, 2000
NOISE = np.random.default_rng(0).uniform(0, 4, (16, 96)).astype(np.float16)


def make_audio(folder: Path, tracks: int) -> None:
    """Files with names as long as usual ones, in folders of a thousand."""
    for album in range(-(-tracks // ALBUM)):
        place = folder / f"{album:04d}" / "an album of some kind"
        place.mkdir(parents=True)
        source = place / f"{album * ALBUM:07d}.wav"
        source.write_bytes(b"RIFF")
        for number in range(album * ALBUM + 1, min((album + 1) * ALBUM, tracks)):
            os.link(source, place / f"{number:07d}.wav")


def attempt_all(files: Sequence[Candidate], work: Work) -> Done:
    """As that of `preprocess.worker`, with noise for features: every track's own, so that checksums differ."""
    done = Done()
    with work.filler.open() as filling:
        for file in files:
            frames = NOISE.copy()
            frames[0, :4].view(np.uint64)[0] = zlib.crc32(file.id.encode()) & 0x3BFF3BFF
            filling.append(file.id, frames, printable(file.path), 0.256)
            done.attempts.append(Attempt(file, "", 0.256))
        done.rows = filling.finish()
    return done


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """The address of a scheduler with workers of one thread each, all bound to the loopback interface."""
    file, common = folder / "scheduler.json", ["--host", "127.0.0.1", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"DASK_TEMPORARY_DIRECTORY": str(folder)}
    line = [sys.executable, "-m", "dask", "scheduler", "--port", "0", "--scheduler-file", str(file), *common]
    scheduler = subprocess.Popen(line, env=environment, **quiet)
    try:
        while not file.exists() or not (text := file.read_text()).endswith("}"):
            time.sleep(0.1)
        address = json.loads(text)["address"]
        line = [sys.executable, "-m", "dask", "worker", address, "--nworkers", str(workers), "--nthreads", "1"]
        nanny = subprocess.Popen([*line, *common], env=environment, **quiet)
        try:
            yield address
        finally:
            nanny.terminate()
            nanny.wait()
    finally:
        scheduler.terminate()
        scheduler.wait()


def build(folder: Path, backend: str, workers: int) -> dict[str, float]:
    """Make the store in this process and say what it took."""
    preprocess.build.attempt_all = attempt_all
    options = {"frontend": "musicnn", "jobs": workers, "progress": False}
    with cluster(folder, workers) if backend == "dask" else nullcontext() as address:
        chosen = connected(address, "--scheduler", "preprocess.worker") if address else nullcontext()
        with chosen as found:
            before, sampler, began = private_bytes(), MemorySampler(), time.perf_counter()
            sampler.start()
            report = preprocess.build.build_store(folder / "audio", folder / "store", cluster=found, **options)
            seconds = time.perf_counter() - began
            again = time.perf_counter()
            preprocess.build.build_store(folder / "audio", folder / "store", cluster=found, **options)
            again = time.perf_counter() - again
            sampler.over.set()
            sampler.join()
    shards = [file.stat().st_size for file in (folder / "store" / "shards").iterdir()]
    return {
        "written": report.written,
        "seconds": seconds,
        "again": again,
        "memory": sampler.most - before,
        "index": (folder / "store" / "index.parquet").stat().st_size,
        "shards": len(shards),
        "bytes": sum(shards),
    }


def read(folder: Path) -> dict[str, float]:
    """Open the store in this process and read crops of tracks drawn at random."""
    before, began = private_bytes(), time.perf_counter()
    store = Store(folder / "store")
    ids = store.ids
    store.length(ids[0])
    opened, memory = time.perf_counter() - began, private_bytes() - before
    drawn = np.random.default_rng(1).integers(0, len(ids), CROPS)
    began = time.perf_counter()
    for number in drawn:
        store.read_crop(ids[number], 0, 16)
    return {"open": opened, "open_memory": memory, "crop": (time.perf_counter() - began) / CROPS}


def main() -> None:
    """Measure every number of tracks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backend", choices=("dask", "loky"), default="dask")
    parser.add_argument("--folder", type=Path, help="where 4 GB for a million tracks are free, and as many files")
    parser.add_argument("--one", choices=("build", "read"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        result = (
            build(options.folder, options.backend, options.workers) if options.one == "build" else read(options.folder)
        )
        print(json.dumps(result))
        return
    title = f"files to a store without decoding, {options.workers} workers of one thread, {options.backend}"
    table = Table(title=title, title_justify="left")
    names = ("tracks", "s", "tracks/s", "again, s", "main process, MB", "index, MB", "shards", "GB", "open, s", "MB")
    for column in (*names, "crop, µs"):
        table.add_column(column, justify="right")
    for tracks in options.tracks:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            make_audio(Path(name) / "audio", tracks)
            result = {}
            for one in ("build", "read"):
                line = [sys.executable, "-m", "benchmarks.million", "--one", one, "--folder", name]
                line += ["--backend", options.backend, "--workers", str(options.workers)]
                done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)
                result |= json.loads(done.stdout)
        if result["written"] != tracks:
            raise SystemExit(f"{result['written']} of {tracks} tracks were written")
        row = [
            f"{tracks:,}",
            f"{result['seconds']:.0f}",
            f"{tracks / result['seconds']:.0f}",
            f"{result['again']:.1f}",
        ]
        row += [f"{result['memory'] / 1e6:.0f}", f"{result['index'] / 1e6:.1f}", f"{result['shards']}"]
        row += [f"{result['bytes'] / 1e9:.2f}", f"{result['open']:.2f}", f"{result['open_memory'] / 1e6:.0f}"]
        row += [f"{1e6 * result['crop']:.0f}"]
        table.add_row(*row)
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
