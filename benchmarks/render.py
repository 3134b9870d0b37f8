"""How fast MIDI becomes training audio: seconds of audio a second of CPU time, on one core, by kind of music.

    python -m benchmarks.render [MIDI_DIR] [--clips 60] [--rate 22050]

Without a folder it writes the demo corpus's own pieces as MIDI files. Every clip is drawn, played, produced and written
as FLAC, as `python -m datasets.demo render --kinds all` does it. The first clip of each kind warms up and is not
counted: it loads the soundfont and compiled code.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import symusic  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.machine import cpu_name  # noqa: E402
from datasets.demo.compose import Piece, compose  # noqa: E402
from datasets.demo.midi import midi_files  # noqa: E402
from datasets.demo.rendering import clips, plan  # noqa: E402
from datasets.demo.rendering.corpus import RATES  # noqa: E402
from datasets.demo.rendering.recipes import KINDS  # noqa: E402
from datasets.demo.synth import check_soundfont  # noqa: E402

PIECES, SECONDS = 20, 90.0  # composed where no folder is given
LENGTHS = (30.0, 60.0)  # seconds of a clip
TPQ = 480


def write_midi(piece: Piece, path: Path) -> None:
    """A composed piece as a MIDI file whose tempo map follows its beats."""
    score = symusic.Score(TPQ)
    score.time_signatures.append(symusic.TimeSignature(0, piece.meter, 4))
    for number, (time_, after) in enumerate(zip(piece.beats, piece.beats[1:], strict=False)):
        score.tempos.append(symusic.Tempo(TPQ * number, 60 / (after - time_)))
    tempo = 60 / (piece.beats[1] - piece.beats[0])
    for part in piece.parts:
        track = symusic.Track(part.role, part.program, part.family == "drums")
        for note in part.notes:
            start, length = (round(seconds * tempo / 60 * TPQ) for seconds in (note.start, note.duration))
            track.notes.append(symusic.Note(start, max(1, length), note.pitch, round(note.velocity)))
        score.tracks.append(track)
    score.dump_midi(path)


def measure(root: Path, target: Path, count: int, rate: int) -> dict[str, tuple[int, float, float]]:
    """Kind -> number of clips, seconds of audio, CPU seconds."""
    shares = {name: kind.share for name, kind in KINDS.items() if kind.share}
    found = (clips.source(path, root) for path in midi_files(root))
    sources = sorted(source for source, reason in found if not reason)
    font = check_soundfont()
    spent: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, clip in enumerate(islice(plan.clips(sources, shares, LENGTHS, 0), count + len(shares))):
        begun = time.process_time()
        _, _, reason, _ = clips.make(clip, f"{number}", root, target, 0, rate, [font])
        if not reason:
            spent[clip.kind].append((clip.seconds, time.process_time() - begun))
    counted = {kind: turns[1:] for kind, turns in spent.items() if turns[1:]}
    return {
        kind: (len(turns), *(sum(column) for column in zip(*turns, strict=True))) for kind, turns in counted.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render", description=__doc__.splitlines()[0])
    parser.add_argument("midi_dir", type=Path, nargs="?")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--rate", type=int, default=RATES[0], choices=RATES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.midi_dir
        if root is None:
            root = Path(folder) / "midi"
            root.mkdir()
            for index in range(PIECES):
                write_midi(compose(0, index, SECONDS), root / f"{index:02d}.mid")
        results = measure(root, Path(folder) / "out", options.clips, options.rate)
    table = Table(title=f"rendering at {options.rate} Hz on one core", title_justify="left")
    for column in ("kind", "clips", "audio s", "CPU s", "x real time"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    totals = tuple(sum(column) for column in zip(*results.values(), strict=True))
    for kind, (count, audio, spent) in (*results.items(), ("all", totals)):
        table.add_row(kind, f"{count}", f"{audio:.0f}", f"{spent:.1f}", f"{audio / spent:.0f}")
    console = Console(width=120)
    console.print(cpu_name())
    console.print(table)


if __name__ == "__main__":
    main()
