"""A folder of MIDI files -> a corpus with truth: in parallel, resumable, the same bytes however many processes work."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from joblib import delayed

from datasets.demo.errors import DemoError
from datasets.demo.midi import Rendering, midi_files, skipped_table
from datasets.demo.output import table, watched, write_text
from datasets.demo.render import RENDERER
from datasets.demo.rendering import plan
from datasets.demo.rendering.mixing import mixed
from datasets.demo.rendering.piece import Piece
from datasets.demo.rendering.plan import Clip, Source
from datasets.demo.rendering.reading import read_piece
from datasets.demo.rendering.recipes import KINDS, fit
from datasets.demo.synth import check_soundfont, soundfont_hash

VERSION = 1  # raise with every change of what a clip sounds like
COLUMNS = ("path", "split", "group", "kind", "genre", "tempo", "meter", "key", "beats")
RATES = (22050, 44100)
FILES_A_PROCESS = 8
FROM_THE_START = 0.2  # of the clips begin with the piece; the others anywhere in it
LONGEST_LEAD = 1.5  # seconds of silence before a piece begins
STEADY = 0.8  # of the beats in one metre, for a clip to be in it


@dataclass(frozen=True)
class Settings:
    """What makes a corpus what it is.

    Attributes:
        seed: The same seed gives the same bytes.
        kinds: Shares of the clips by kind.
        seconds: Shortest and longest clip.
        rate: Samples a second.
        splits: Shares of the pieces by split.
        keep_splits: Whether pieces stay in the split that a table beside them says.
        soundfonts: Files; by default the one that `pretty_midi` ships.
    """

    seed: int = 0
    kinds: Mapping[str, float] = field(default_factory=lambda: {name: kind.share for name, kind in KINDS.items()})
    seconds: tuple[float, float] = (30.0, 60.0)
    rate: int = 22050
    splits: Mapping[str, float] = field(default_factory=lambda: {"train": 0.9, "valid": 0.05, "test": 0.05})
    keep_splits: bool = False
    soundfonts: tuple[Path, ...] = ()


def render_corpus(
    midi_dir: Path | str,
    output_dir: Path | str,
    settings: Settings | None = None,
    *,
    variants: float = 1,
    limit: int | None = None,
    hours: float | None = None,
    jobs: int = -1,
    progress: bool = True,
) -> Rendering:
    """Render variants of MIDI files, with the truth of each. A second call finishes what was left, or adds to it.

    Args:
        variants: Clips a piece, on the average.
        limit: Most clips; replaces `variants`.
        hours: Of audio, about; likewise.

    Raises:
        DemoError: No such folder, nothing in it that can be rendered, settings that cannot be used, or a corpus made
            with others in the output folder.
    """
    settings = settings or Settings()
    root, target = Path(midi_dir), Path(output_dir)
    fonts = tuple(check_soundfont(path) for path in settings.soundfonts or (None,))
    files = midi_files(root)
    facts = _facts(settings, fonts)
    _claim(target, facts)
    report = Rendering()
    sources = []
    scan = (delayed(_source)(path, root) for path in files)
    for source, reason in watched(scan, len(files), jobs, 100 * FILES_A_PROCESS, progress, "Reading MIDI files"):
        if reason:
            report.skipped.append((root / source.name, reason))
        else:
            sources.append(source)
    sources.sort()
    handed = plan.clips(sources, settings.kinds, settings.seconds, settings.seed)
    count = limit if limit is not None else None if hours is not None else round(variants * len(sources))
    chosen = plan.enough(handed, count, None if hours is None else 3600 * hours)
    if not chosen:
        raise DemoError(f"{root}: no MIDI file in it can be made into {', '.join(settings.kinds)}")
    split = plan.splits(sources, settings.splits, settings.seed, settings.keep_splits)
    work = (delayed(_make)(clip, root, target, settings, fonts) for clip in chosen)
    rows, seconds, size = [], 0.0, 0
    for clip, row, reason in watched(work, len(chosen), jobs, FILES_A_PROCESS, progress, "Rendering MIDI files"):
        if reason:
            report.skipped.append((root / clip.source.name, f"as {clip.kind}: {reason}"))
            continue
        audio = target / row["path"]
        report.written.append(audio)
        seconds, size = seconds + clip.seconds, size + audio.stat().st_size
        rows.append({**row, "split": split[clip.source.name]})
    report.written.sort()
    report.skipped.sort()
    rows.sort(key=lambda row: row["path"])
    write_text(target / "tracks.csv", table(COLUMNS, rows))
    write_text(target / "skipped.csv", skipped_table(root, report.skipped))
    counts = {
        "clips": len(rows),
        "pieces": len({row["group"] for row in rows}),
        "hours": round(seconds / 3600, 3),
        "megabytes": round(size / 1e6, 1),
        "clips_by_kind": dict(sorted(Counter(row["kind"] for row in rows).items())),
        "clips_by_split": dict(sorted(Counter(row["split"] for row in rows).items())),
    }
    write_text(target / "corpus.json", json.dumps({**facts, **counts}, indent=2) + "\n")
    return report


def _facts(settings: Settings, fonts: tuple[Path, ...]) -> dict:
    """What `corpus.json` says of how a corpus is made."""
    for name in settings.kinds:
        if name not in KINDS:
            raise DemoError(f"kind {name!r}: expected one of {', '.join(KINDS)}")
    if settings.rate not in RATES:
        raise DemoError(f"rate {settings.rate} Hz: expected {' or '.join(map(str, RATES))}")
    if not 1 <= settings.seconds[0] <= settings.seconds[1]:
        raise DemoError(f"seconds {settings.seconds}: expected the shortest clip, from 1 s up, and the longest")
    return {
        **{name: value for name, value in asdict(settings).items() if name != "soundfonts"},
        "seconds": list(settings.seconds),
        "version": f"{VERSION}.{RENDERER}",
        "soundfonts": {font.name: soundfont_hash(font) for font in fonts},
    }


def _claim(target: Path, facts: Mapping) -> None:
    """Make the folder of a corpus, or find one made with the same settings.

    Raises:
        DemoError: It was made with others.
    """
    target.mkdir(parents=True, exist_ok=True)
    file = target / "corpus.json"
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        before = {}
    except (OSError, ValueError, RecursionError) as error:
        raise DemoError(f"{file}: cannot be read; give another folder, or delete this one") from error
    for name, value in facts.items():
        if before and before.get(name) != json.loads(json.dumps(value)):
            raise DemoError(
                f"{target}: was made with {name}={before.get(name)!r}, now it is {value!r}; give another folder"
            )
    write_text(file, json.dumps({**before, **facts}, indent=2) + "\n")
    for leftover in target.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _source(path: Path, root: Path) -> tuple[Source, str]:
    """What planning must know of a file, and why it is skipped or ""."""
    name = path.relative_to(root).as_posix()
    try:
        piece = read_piece(path, root)
    except Exception as error:  # whatever a file holds must not end the job
        return Source(name, (), 0.0, ""), _reason(error)
    kinds = tuple(fit(piece))
    reason = "" if kinds else "too short, or without beats"
    return Source(name, kinds, piece.end - piece.start, piece.split), reason


def _make(
    clip: Clip, root: Path, target: Path, settings: Settings, fonts: tuple[Path, ...]
) -> tuple[Clip, dict[str, str], str]:
    """One clip, unless a former run has finished it: its line of the table, and why there is none or ""."""
    stem = Path(clip.source.name).with_suffix("")
    suffix = Path(clip.source.name).suffix[1:].lower()
    audio = target / stem.with_name(f"{stem.name}.{suffix}.{clip.kind}{clip.variant}.flac")
    try:
        rng = clip.rng(settings.seed)
        piece = KINDS[clip.kind].vary(rng, read_piece(root / clip.source.name, root))
        start, seconds = _window(rng, piece, clip.seconds)
        truth, row = _truth(piece, start, seconds)
        if not audio.is_file():
            sound = mixed(rng, piece, start, seconds, settings.rate, fonts, KINDS[clip.kind].synthetic)
            audio.parent.mkdir(parents=True, exist_ok=True)
            write_text(audio.with_suffix(".beats"), truth)
            _write_audio(audio, sound, settings.rate)
    except OSError:
        raise
    except Exception as error:
        return clip, {}, _reason(error)
    path = audio.relative_to(target)
    names = {"path": path.as_posix(), "beats": path.with_suffix(".beats").as_posix()}
    return clip, {**row, **names, "group": clip.source.name, "kind": clip.kind, "genre": piece.style}, ""


def _reason(error: Exception) -> str:
    """Why a file is skipped."""
    return str(error) if isinstance(error, DemoError) else f"cannot be rendered ({type(error).__name__}: {error})"


def _window(rng, piece: Piece, longest: float) -> tuple[float, float]:
    """Where a clip starts on the clock of its piece, and its seconds."""
    seconds = min(longest, piece.end - piece.start)
    if rng.random() < FROM_THE_START:
        return piece.start - rng.uniform(0, LONGEST_LEAD), seconds
    return rng.uniform(piece.start, piece.end - seconds), seconds


def _truth(piece: Piece, start: float, seconds: float) -> tuple[str, dict[str, str]]:
    """The lines of a file of beats, and what the table says of a clip."""
    grid = piece.grid.between(max(start, piece.start - 0.1), min(start + seconds, piece.end))
    grid = grid.at(grid.times + max(0.0, piece.start - 0.1 - start))
    lines = "".join(
        f"{time:.4f}\t{place}\n" if grid.barred else f"{time:.4f}\n"
        for time, place in zip(grid.times.tolist(), grid.positions.tolist(), strict=True)
    )
    if len(grid) < 2:
        raise DemoError("fewer than two beats in the clip")
    meter, count = Counter(grid.meters).most_common(1)[0]
    row = {
        "tempo": f"{60.0 / float(np.median(np.diff(grid.times))):.3f}",
        "meter": str(meter) if grid.barred and count >= STEADY * len(grid) else "",
        "key": piece.key_between(start, start + seconds),
    }
    return lines, row


def _write_audio(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write mono 16-bit FLAC, aside first, so that a file of this name is always whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    soundfile.write(aside, samples, rate, format="FLAC", subtype="PCM_16")
    os.replace(aside, path)
