"""A folder of MIDI files -> a folder of audio, through the renderer of the demo corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import symusic
from joblib import delayed

from datasets.demo.output import table, watched, write_text
from datasets.demo.render import CEILING, DemoError, check_soundfont, master, render_score, write_audio

LONGEST = 1800.0  # seconds that a MIDI file may last


@dataclass
class Rendering:
    """What came of a folder of MIDI files: the audio files written, and (file, reason) for those skipped."""

    written: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def render_folder(
    midi_dir: Path | str,
    output_dir: Path | str,
    soundfont: Path | str | None = None,
    jobs: int = -1,
    progress: bool = True,
) -> Rendering:
    """Render every .mid and .midi file below a folder to FLAC of the same relative name.

    Files that cannot be rendered are skipped and listed with the reason, also in `skipped.csv` in the output folder.

    Raises:
        DemoError: no such folder, no MIDI files in it, or a soundfont that is missing or not one.
    """
    source, target, font = Path(midi_dir), Path(output_dir), check_soundfont(soundfont)
    if not source.is_dir():
        raise DemoError(f"{source}: no such folder; give a folder of .mid or .midi files")
    files = list(midi_files(source))
    if not files:
        raise DemoError(f"{source}: no .mid or .midi file in this folder or below it")
    stems = Counter(path.with_suffix("") for path in files)
    work = []
    for path in files:
        name = path.with_suffix("") if stems[path.with_suffix("")] == 1 else path
        destination = target / path.relative_to(source).with_name(f"{name.name}.flac")
        work.append(delayed(_render_file)(path, destination, font))
    report = Rendering()
    for path, reason in watched(work, len(work), jobs, progress, "Rendering MIDI files"):
        if reason:
            report.skipped.append((path, reason))
        else:
            report.written.append(path)
    report.written.sort()
    report.skipped.sort()
    target.mkdir(parents=True, exist_ok=True)
    lines = ({"path": path.relative_to(source).as_posix(), "reason": reason} for path, reason in report.skipped)
    write_text(target / "skipped.csv", table(("path", "reason"), lines))
    return report


def _render_file(source: Path, destination: Path, soundfont: Path) -> tuple[Path, str]:
    """The audio file written and "", or the MIDI file and why it was skipped."""
    try:
        samples = render_midi(source, soundfont)
    except DemoError as error:
        return source, str(error)
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_audio(destination, samples)
    return destination, ""


def render_midi(source: Path, soundfont: Path) -> np.ndarray:
    """A MIDI file -> mono float32 [samples] at `SAMPLE_RATE`, peak at the ceiling.

    Raises:
        DemoError: it cannot be read, has no notes, is too long, or is silent with this soundfont.
    """
    try:
        score = symusic.Score(source).to("second")
    except (RuntimeError, ValueError, OSError) as error:
        raise DemoError(
            f"not a readable MIDI file ({str(error).splitlines()[0] if str(error) else error!r})"
        ) from error
    if not score.note_num():
        raise DemoError("has no notes")
    if not 0 <= score.end() <= LONGEST:
        raise DemoError(f"lasts {score.end():.0f} s, more than {LONGEST:.0f} s")
    samples = render_score(score, soundfont)
    peak = float(np.abs(samples).max(initial=0.0))
    if not 0 < peak < np.inf:
        raise DemoError("silent with this soundfont")
    return master(samples * (CEILING / peak))


def midi_files(folder: Path) -> Iterator[Path]:
    """The MIDI files in a folder and its subfolders, sorted."""
    return iter(
        sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".mid", ".midi"} and path.is_file())
    )
