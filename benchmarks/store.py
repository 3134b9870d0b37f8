"""Reading random 30-s crops: the store beside one big memmap, whole files, and the per-track loader of MAEST.

    python -m benchmarks.store [--tracks 10000] [--seconds 32] [--songs 200] [--song-seconds 300]

Every contestant returns a crop ``[1875, 96]`` float16 of a track chosen by its id. The store and the big memmap hold
the same tracks, hardly longer than a crop so that 10,000 of them fit into memory twice. The loaders of one file a track
read songs of the length that MAEST keeps (the middle 300 s); these are few, and stay in memory. All take turns in short
blocks of other crops each, in an order drawn anew every round; CPU time of the process counts, and of all rounds the
fastest. ``normalised`` contestants also return ``(crop - mean) / (2 std)``: the MAEST loader does that in float16 with
numpy on the reading side, so it is set beside the store doing the same in float32 with torch. The last lines are the
whole way of training: balanced draws, random crops, batches of 64, of log-mels and of stored audio (3.7-s crops at
16 kHz, which is 59,049 samples; also the store alone), and batches of 96 pairs of such crops, as contrastive learning
takes them: read by the loader, or cut from tracks that are preloaded.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from datasets.clips import RandomCrops
from datasets.progress import progress
from datasets.samplers import EpochSampler, balanced_weights
from datasets.store import Header, Store, StoreWriter
from datasets.targets import ClipTargets
from experiments.training.preloading import Preloaded

BANDS, FRAMES_PER_SECOND, MEAN, STD = 96, 62.5, 2.06755686098554, 1.268292820667291
CROP = 1875
RATE, AUDIO_CROP, AUDIO_SECONDS = 16_000, 59_049, 29.1  # Hz; samples; of a clip of MagnaTagATune
WHOLE = "np.load of whole songs"
MAEST = "per-track memmap, normalised in float16 (MAEST)"
OURS = "store, normalised in float32"
Reader = Callable[[str, int], np.ndarray]


def make_corpus(folder: Path, tracks: int, frames: int) -> list[str]:
    """The same mels as a store and as one raw file."""
    noise = (np.random.default_rng(0).random((frames + 997, BANDS)) * 5).astype(np.float16)
    ids = [f"album_{number // 12:05d}/{number:06d}.mp3" for number in range(tracks)]
    with (
        StoreWriter(folder / "store", Header("mel", (BANDS,))) as writer,
        (folder / "big.raw").open("wb") as big,
        progress("writing", tracks, "tracks") as advance,
    ):
        for number, id in enumerate(ids):
            mel = noise[number % 997 :][:frames]
            writer.append(id, mel)
            big.write(mel.tobytes())
            advance()
    return ids


def make_songs(folder: Path, songs: int, frames: int) -> None:
    """Mels of whole songs, one ``.npy`` and one raw ``.mmap`` each."""
    (folder / "songs").mkdir()
    mel = (np.random.default_rng(3).random((frames, BANDS)) * 5).astype(np.float16)
    for number in range(songs):
        np.save(folder / "songs" / f"{number}.npy", mel)
        mel.tofile(folder / "songs" / f"{number}.mmap")


def contestants(folder: Path, ids: list[str], frames: int) -> dict[str, Reader]:
    """Readers ``(id, start) -> [1875, 96]``."""
    number = {id: place for place, id in enumerate(ids)}
    store = Store(folder / "store")
    songs = len(list((folder / "songs").glob("*.npy")))
    big = np.memmap(folder / "big.raw", np.float16, "r", shape=(len(ids) * frames, BANDS))

    def one_memmap(id: str, start: int) -> np.ndarray:
        first = number[id] * frames + start
        return np.array(big[first : first + CROP])

    def whole_file(id: str, start: int) -> np.ndarray:
        return np.load(folder / "songs" / f"{number[id] % songs}.npy")[start : start + CROP].copy()

    def per_track(id: str, start: int) -> np.ndarray:
        path = folder / "songs" / f"{number[id] % songs}.mmap"
        rows = path.stat().st_size // (2 * BANDS)
        return np.array(np.memmap(path, np.float16, "r", shape=(rows, BANDS))[start : start + CROP])

    def per_track_normalised(id: str, start: int) -> np.ndarray:
        return (per_track(id, start) - np.float16(MEAN)) / np.float16(2 * STD)

    def store_normalised(id: str, start: int) -> np.ndarray:
        crop = torch.from_numpy(store.read_crop(id, start, CROP)).float()
        return crop.sub_(MEAN).div_(2 * STD).numpy()

    return {
        "store": lambda id, start: store.read_crop(id, start, CROP),
        "one big memmap": one_memmap,
        WHOLE: whole_file,
        "per-track memmap": per_track,
        MAEST: per_track_normalised,
        OURS: store_normalised,
    }


def race(readers: dict[str, Reader], ids: list[str], frames: int, reads: int, rounds: int) -> dict[str, float]:
    """Best CPU seconds for one crop, by contestant."""
    rng = np.random.default_rng(1)
    best = dict.fromkeys(readers, float("inf"))
    with progress("reading", rounds, "rounds") as advance:
        for _ in range(rounds):
            for name in rng.permutation(list(readers)):
                crops = [(ids[track], int(start)) for track, start in draw(rng, len(ids), frames, reads)]
                began = time.process_time()
                for id, start in crops:
                    readers[name](id, start)
                best[name] = min(best[name], (time.process_time() - began) / reads)
            advance()
    return best


def draw(rng: np.random.Generator, tracks: int, frames: int, reads: int) -> np.ndarray:
    """Random (track, start) pairs ``[reads, 2]``."""
    return np.stack([rng.integers(0, tracks, reads), rng.integers(0, frames - CROP + 1, reads)], axis=1)


def cold(folder: Path, readers: dict[str, Reader], ids: list[str], frames: int, reads: int) -> dict[str, float]:
    """Wall seconds for one crop after the files were dropped from memory (as far as the system heeds the request)."""
    rng = np.random.default_rng(2)
    seconds = {}
    for name in ("store", "one big memmap"):
        for file in [*(folder / "store" / "shards").iterdir(), folder / "big.raw"]:
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        began = time.perf_counter()
        for track, start in draw(rng, len(ids), frames, reads):
            readers[name](ids[track], int(start))
        seconds[name] = (time.perf_counter() - began) / reads
    return seconds


def make_audio(folder: Path, tracks: int) -> list[str]:
    """Stored audio of clips as long as those of MagnaTagATune."""
    samples = int(AUDIO_SECONDS * RATE)
    noise = np.random.default_rng(5).integers(-8000, 8000, samples + 997).astype(np.int16)
    ids = [f"{number % 16:x}/{number:06d}.mp3" for number in range(tracks)]
    with (
        StoreWriter(folder / "audio", Header("audio", (), "int16")) as writer,
        progress("writing audio", tracks, "tracks") as advance,
    ):
        for number, id in enumerate(ids):
            writer.append(id, noise[number % 997 :][:samples])
            advance()
    return ids


def audio_crops(folder: Path, ids: list[str], reads: int = 4000) -> float:
    """Crops of stored audio per CPU second, from the store alone."""
    store, rng = Store(folder / "audio"), np.random.default_rng(6)
    best = float("inf")
    for _ in range(3):
        starts = rng.integers(0, int(AUDIO_SECONDS * RATE) - AUDIO_CROP, reads)
        crops = [
            (ids[track], int(start)) for track, start in zip(rng.integers(0, len(ids), reads), starts, strict=True)
        ]
        began = time.process_time()
        for id, start in crops:
            store.read_crop(id, start, AUDIO_CROP)
        best = min(best, (time.process_time() - began) / reads)
    return 1 / best


def batches(store: Path, ids: list[str], crop: int, batch: int = 64, draws: int = 6400) -> float:
    """Crops per CPU second as a training gets them."""
    targets = (np.random.default_rng(4).random((len(ids), 400)) < 0.02).astype(np.float32)
    crops = RandomCrops(Store(store), ids, ClipTargets(targets), crop)
    sampler = EpochSampler(balanced_weights(targets, 100.0, True), min(draws, len(ids)), False, 0, 0, 1)
    loader = DataLoader(crops, batch, sampler=sampler)
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        seen = sum(len(batch["x"]) for batch in loader)
        best = min(best, (time.process_time() - began) / seen)
    return 1 / best


def pairs(store: Path, ids: list[str], batch: int = 96, rounds: int = 3) -> dict[str, float]:
    """Pairs of crops per CPU second, by where their audio is: in files that are mapped, or preloaded in memory.

    Without the crops themselves, which a GPU that holds the tracks cuts, there remain the places of crops.
    """
    reader, tracks = Store(store), len(ids)

    def loader(places_only: bool) -> DataLoader:
        crops = RandomCrops(reader, ids, None, AUDIO_CROP, views=2, places_only=places_only)
        return DataLoader(crops, batch, sampler=EpochSampler(np.ones(tracks), tracks), drop_last=True)

    tracks_in_memory = Preloaded(reader, ids, AUDIO_CROP, torch.device("cpu"))
    contestants = {
        "mapped": (loader(False), lambda one: one["x"]),
        "preloaded": (loader(True), lambda one: tracks_in_memory.crops(one["track"], one["start"])),
        "places alone": (loader(True), lambda one: one["start"]),
    }
    best = dict.fromkeys(contestants, float("inf"))
    for number in range(rounds):
        for name, (batches, cut) in contestants.items():
            batches.sampler.set_epoch(number)
            began = time.process_time()
            seen = sum(len(cut(one)) for one in batches)
            best[name] = min(best[name], (time.process_time() - began) / seen)
    return {name: 1 / seconds for name, seconds in best.items()}


def check(readers: dict[str, Reader], ids: list[str]) -> None:
    """Those with the same tracks return the same crop, and the two normalisations agree."""
    if not np.array_equal(readers["store"](ids[-1], 5), readers["one big memmap"](ids[-1], 5)):
        raise SystemExit("the store and the memmap do not return the same crop")
    for raw, normalised in (("store", OURS), ("per-track memmap", MAEST)):
        expected = (readers[raw](ids[-1], 5).astype(np.float32) - MEAN) / (2 * STD)
        if not np.allclose(readers[normalised](ids[-1], 5), expected, atol=5e-3):
            raise SystemExit(f"{normalised!r} is not normalised")


def overhead(folder: Path, mel_bytes: int) -> float:
    """Bytes of the store above its mels, as a share of them."""
    return sum(file.stat().st_size for file in (folder / "store").rglob("*") if file.is_file()) / mel_bytes - 1


def report(best: dict[str, float], disk: dict[str, float], extra: float, conditions: str) -> None:
    """Print the tables."""
    console = Console(width=110)
    table = Table(title="random 30-s crops, files in memory, one core")
    for column in ("reader", "µs a crop (CPU)", "crops/s", "times the store's"):
        table.add_column(column, justify="left" if column == "reader" else "right")
    for name, seconds in best.items():
        table.add_row(name, f"{seconds * 1e6:.1f}", f"{1 / seconds:,.0f}", f"{seconds / best['store']:.2f}")
    console.print(table)
    maest = best[MAEST] / best[OURS]
    console.print(f"MAEST's loader takes {maest:.1f} times the store's time when both normalise")
    ratio = disk["one big memmap"] / disk["store"]
    walls = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in disk.items())
    console.print(f"dropped from memory first, wall time a crop: {walls}; ratio {ratio:.1f}")
    console.print(f"store on disk: mel bytes + {100 * extra:.3f} %\n{conditions}")


def main() -> None:
    """Build the files, let everybody read, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=32.0, help="length of a track, at least 30")
    parser.add_argument("--songs", type=int, default=200)
    parser.add_argument("--song-seconds", type=float, default=300.0)
    parser.add_argument("--clips", type=int, default=4000, help="of stored audio")
    parser.add_argument("--pair-clips", type=int, default=2000, help="of them, those that pairs are cut from")
    parser.add_argument("--reads", type=int, default=400, help="crops a block")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where to write the scratch files (about 9 GB)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = max(int(options.seconds * FRAMES_PER_SECOND), CROP)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        ids = make_corpus(folder, options.tracks, frames)
        make_songs(folder, options.songs, int(options.song_seconds * FRAMES_PER_SECOND))
        readers = contestants(folder, ids, frames)
        check(readers, ids)
        best = race(readers, ids, frames, options.reads, options.rounds)
        disk = cold(folder, readers, ids, frames, min(options.reads, 200))
        rate = batches(folder / "store", ids, CROP)
        extra = overhead(folder, len(ids) * frames * BANDS * 2)
        clips = make_audio(folder, options.clips)
        audio_alone, audio_rate = audio_crops(folder, clips), batches(folder / "audio", clips, AUDIO_CROP)
        paired = pairs(folder / "audio", clips[: options.pair_clips])
    conditions = (
        f"{options.tracks:,} tracks of {frames / FRAMES_PER_SECOND:.0f} s, {options.songs} songs of "
        f"{options.song_seconds:.0f} s; {options.rounds} rounds of {options.reads} crops each, best round; 1 thread, "
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, torch {torch.__version__}"
    )
    report(best, disk, extra, conditions)
    console = Console(width=110)
    console.print(f"batches of training: {rate:,.0f} crops a second and core (bar: 2,000)")
    console.print(
        f"stored audio, {options.clips:,} clips of {AUDIO_SECONDS} s, crops of {AUDIO_CROP / RATE:.1f} s: the store "
        f"alone {audio_alone:,.0f} crops a second and core, batches of training {audio_rate:,.0f} (bar: 2,000)"
    )
    console.print(
        f"96 pairs of crops of {AUDIO_CROP:,} samples, pairs a second and core: read by the loader "
        f"{paired['mapped']:,.0f}, cut from preloaded tracks {paired['preloaded']:,.0f}, the places of crops alone "
        f"{paired['places alone']:,.0f}"
    )


if __name__ == "__main__":
    main()
