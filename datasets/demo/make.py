"""A size and a seed -> the demo corpus in the cache: in parallel, resumable, and complete or absent."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joblib import delayed

from datasets.cache import cache_dir as default_cache
from datasets.demo.compose import VERSION, compose
from datasets.demo.errors import DemoError
from datasets.demo.output import table, watched, write_text
from datasets.demo.render import RENDERER, render_piece, write_audio
from datasets.demo.styles import GENRES
from datasets.demo.synth import check_soundfont, soundfont_hash
from datasets.demo.tones import SAMPLE_RATE
from datasets.demo.truth import COLUMNS, beats, splits, table_row
from datasets.store_files import open_lock

SIZES: dict[str, tuple[int, float]] = {"tiny": (40, 6.0), "small": (1000, 12.0)}  # tracks, seconds each
TRACKS_A_PROCESS = 25
ANY_SIZE_SECONDS = SIZES["small"][1]


def build(
    size: str | int = "small",
    seed: int = 0,
    cache_dir: Path | str | None = None,
    soundfont: Path | str | None = None,
    jobs: int = -1,
    progress: bool = True,
) -> Path:
    """Compose and render the demo corpus once; later calls with the same arguments find it in the cache.

    Args:
        size: a name in `SIZES`, or a number of tracks (as long as those of "small").
        seed: the same seed gives the same bytes.
        cache_dir: where corpora are kept; by default `datasets.cache.cache_dir()`.
        soundfont: a General MIDI .sf2 file; by default the one that `pretty_midi` ships.
        jobs: processes that render tracks; -1 means one for each core.
        progress: draw a progress bar on stderr.

    Returns:
        The corpus folder: `audio/`, `tracks.csv` (columns `truth.COLUMNS`, paths relative to `audio/`), `corpus.json`.

    Raises:
        DemoError: an unknown size, or a soundfont that is missing or not one.
    """
    name, count, seconds = measures(size)
    font = check_soundfont(soundfont)
    digest = soundfont_hash(font)
    home = Path(default_cache() if cache_dir is None else cache_dir).expanduser() / "demo"
    folder = home / f"{name}-{count}x{seconds:g}s-seed{seed}-v{VERSION}.{RENDERER}-{digest[:8]}"
    if folder.is_dir():
        return folder
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / f".{folder.name}.lock"):
        if folder.is_dir():
            return folder
        partial = home / f".{folder.name}.partial"
        for place in ("audio", "rows"):
            (partial / place).mkdir(parents=True, exist_ok=True)
        for leftover in partial.rglob("*.tmp"):
            leftover.unlink()
        assigned = splits([GENRES[index % len(GENRES)] for index in range(count)], seed)
        work = (delayed(make_track)(partial, seed, index, seconds, split, font) for index, split in enumerate(assigned))
        rows = list(watched(work, count, jobs, TRACKS_A_PROCESS, progress, "Composing and rendering the demo corpus"))
        write_text(partial / "tracks.csv", table(COLUMNS, sorted(rows, key=lambda row: row["path"])))
        facts = {
            "size": size,
            "tracks": count,
            "seconds": seconds,
            "sample_rate": SAMPLE_RATE,
            "seed": seed,
            "composer_version": VERSION,
            "renderer_version": RENDERER,
            "soundfont": font.name,
            "soundfont_sha256": digest,
        }
        write_text(partial / "corpus.json", json.dumps(facts, indent=2) + "\n")
        shutil.rmtree(partial / "rows")
        os.replace(partial, folder)
    return folder


def measures(size: str | int) -> tuple[str, int, float]:
    """A size -> (its name, number of tracks, seconds of each).

    Raises:
        DemoError: neither a name in `SIZES` nor a positive number.
    """
    if isinstance(size, str) and size in SIZES:
        return size, *SIZES[size]
    count = int(size) if str(size).isdecimal() else 0
    if count < 1:
        raise DemoError(f"size={size!r}: expected one of {', '.join(SIZES)}, or a number of tracks from 1 up")
    return f"n{count}", count, ANY_SIZE_SECONDS


def _finished(done: Path) -> dict[str, str]:
    """The line of a track that a former run has finished; nothing where there is none, or a damaged one."""
    try:
        row = json.loads(done.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def make_track(folder: Path, seed: int, index: int, seconds: float, split: str, soundfont: Path) -> dict[str, str]:
    """One track into `folder/audio`, unless a former run has finished it; returns its line of the table."""
    name = f"{index:05d}"
    done = folder / "rows" / f"{name}.json"
    if row := _finished(done):
        return row
    piece = compose(seed, index, seconds)
    mix = render_piece(piece, soundfont)
    write_audio(folder / "audio" / f"{name}.flac", mix.audio)
    lines = "".join(f"{time:.4f}\t{position}\n" for time, position in beats(piece))
    write_text(folder / "audio" / f"{name}.beats", lines)
    row = table_row(f"{name}.flac", split, piece, mix.levels)
    write_text(done, json.dumps(row))
    return row


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes do not build the same corpus at once. The lock ends with the process."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
