"""One clip of the corpus: drawn, played, and written with its truth."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.demo.errors import DemoError
from datasets.demo.midi import render_midi
from datasets.demo.output import write_text
from datasets.demo.render import write_audio
from datasets.demo.rendering.mixing import mixed
from datasets.demo.rendering.piece import MidiPiece
from datasets.demo.rendering.plan import WRITTEN, Clip, Source
from datasets.demo.rendering.reading import read_piece
from datasets.demo.rendering.recipes import KINDS, fit
from datasets.inside import file_state

COLUMNS = ("path", "split", "group", "kind", "genre", "tempo", "meter", "key", "beats")
FROM_THE_START = 0.2  # of the clips begin with the piece; the others anywhere in it
LONGEST_LEAD = 1.5  # seconds of silence before a piece begins
BEFORE_THE_MUSIC = 0.1  # seconds before its first note from which beats count
STEADY = 0.8  # of the beats in one metre, for a clip to be in it

Result = tuple[Clip, dict[str, str], str, bool]  # a clip, its line of the table, why there is none or "", made before


def source(path: Path, root: Path) -> tuple[Source, str]:
    """What planning must know of a MIDI file below a folder, and why it is skipped or ""."""
    name = path.relative_to(root).as_posix()
    try:
        piece = read_piece(path, root)
    except Exception as error:  # whatever a file holds must not end the job
        return Source(name, (), 0.0, ""), _reason(error)
    return Source(name, fit(piece), piece.end - piece.start, piece.split), ""


def make(clip: Clip, name: str, root: Path, target: Path, seed: int, rate: int, soundfonts: Sequence[Path]) -> Result:
    """Make one clip, unless a former run has, after the MIDI file was changed the last time.

    Args:
        name: Of the audio file, below `target`, without suffix.
        root: The folder of MIDI files.
        rate: Samples a second.
    """
    midi, audio = root / clip.source.name, target / f"{name}.flac"
    try:
        piece = read_piece(midi, root)
        rng = clip.rng(seed)
        piece = KINDS[clip.kind].vary(rng, piece)
        start, seconds = (0.0, np.inf) if clip.kind == WRITTEN else window(rng, piece, clip.seconds)
        truth, row = described(piece, start, seconds)
        kept = _finished(audio, midi)
        if not kept:
            if clip.kind == WRITTEN:
                sound = render_midi(midi, soundfonts[0], rate)
            else:
                sound = mixed(rng, piece, start, seconds, rate, soundfonts, KINDS[clip.kind].synthetic)
            audio.parent.mkdir(parents=True, exist_ok=True)
            write_text(audio.with_suffix(".beats"), truth)
            write_audio(audio, sound, rate)
    except OSError:  # of a full disk, say
        raise
    except Exception as error:
        return clip, {}, _reason(error), False
    names = {"path": f"{name}.flac", "beats": f"{name}.beats"}
    return clip, {**row, **names, "group": clip.source.name, "kind": clip.kind, "genre": piece.style}, "", kept


def window(rng: random.Random, piece: MidiPiece, longest: float) -> tuple[float, float]:
    """Where a clip starts on the clock of its piece, and its seconds."""
    seconds = min(longest, piece.end - piece.start)
    if rng.random() < FROM_THE_START:
        return piece.start - rng.uniform(0, LONGEST_LEAD), seconds
    return rng.uniform(piece.start, piece.end - seconds), seconds


def described(piece: MidiPiece, start: float, seconds: float) -> tuple[str, dict[str, str]]:
    """The lines of a file of beats, and what the table says of a clip: tempo, metre and key.

    Beats before the first note and behind the last one are left out: nobody can hear them.
    """
    begin = max(start, piece.start - BEFORE_THE_MUSIC)
    end = min(start + seconds, piece.end)
    grid = piece.grid.between(begin, end)
    times = grid.times + (begin - start)
    places = [f"\t{place}" if grid.barred else "" for place in grid.positions.tolist()]
    lines = "".join(f"{time:.4f}{place}\n" for time, place in zip(times.tolist(), places, strict=True))
    meter, count = Counter(grid.meters).most_common(1)[0] if len(grid) else ("", 0)
    row = {
        "tempo": f"{60.0 / float(np.median(np.diff(times))):.3f}" if len(times) > 1 else "",
        "meter": str(meter) if grid.barred and count >= STEADY * len(grid) else "",
        "key": piece.key_between(begin, end),
    }
    return lines, row


def _finished(audio: Path, midi: Path) -> bool:
    """Whether a clip is there, and was made from the file as it is."""
    made, read = file_state(audio), file_state(midi)
    return made is not None and read is not None and made[0] > read[0] and audio.with_suffix(".beats").is_file()


def _reason(error: Exception) -> str:
    """Why a file is skipped."""
    return str(error) if isinstance(error, DemoError) else f"cannot be rendered ({type(error).__name__}: {error})"
