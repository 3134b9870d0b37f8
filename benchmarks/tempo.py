"""Global tempo on a folder of music: networks of tempo or beats beside librosa, Essentia and a constant, song by song.

    python -m benchmarks.tempo AUDIO_DIR TABLE [--checkpoints FILE ...] [--estimates NAME=TABLE ...] [--out FOLDER]

TABLE has a column of paths below AUDIO_DIR and one of `tempo`, perhaps `genre`; where two tempi are annotated, as in
GiantSteps, `second_tempo` and `strength` (of the first, 0..1) too. What other programs say comes in as further tables,
of paths and `tempo`. Every row is scored on the songs that all rows have a tempo for; the first is compared with
each of the others, on the same resamples. Seconds are those of one process for all songs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.beats import Beats
from datasets.columns import find
from datasets.corpus import read_table
from datasets.progress import progress
from datasets.tables import read_sheet
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.tasks.beats import BeatTracking
from experiments.tasks.tempo import TempoTask
from experiments.tasks.tempo_metrics import MEANING
from experiments.tempo.baselines import USUAL, librosa_tempo
from experiments.tempo.comparison import Songs, System, compare, text, write
from experiments.tempo.pictures import octave_histogram, scatter, where_right
from preprocess.decode import load
from preprocess.sources import AudioError

RATE = 44_100  # Hz, which Essentia takes
LIBROSA_RATE = 22_050

Estimator = Callable[[Path], tuple[float, float]]  # a file to its tempo and the second one, BPM, 0: it has none


def songs_of(table: Path) -> Songs:
    """The annotated songs of a table."""
    sheet = read_sheet(table)
    (path,) = find(sheet, "path", ("path",))
    second, strength = (sheet.column(name) for name in ("second_tempo", "strength"))
    beside = {
        str(cells.get(path)): (float(cells.get(second) or 0), float(cells.get(strength) or 0))
        for _, cells in sheet.rows
        if second and strength
    }
    tracks = [track for track in read_table(table, splits=False) if track.annotations.get("tempo")]
    if not tracks:
        raise SystemExit(f"{table}: no track has a tempo")
    two = np.array([beside.get(track.id, (0.0, 0.0)) for track in tracks])
    return Songs(
        [track.id for track in tracks],
        np.array([track.annotations["tempo"] for track in tracks], np.float64),
        [str(track.annotations.get("genre", "unknown")) for track in tracks],
        two[:, 0] if second and strength else None,
        two[:, 1] if second and strength else None,
    )


def network(checkpoint: str) -> Estimator:
    """A trained network of tempo, whose windows overlap by half; or one of beats, whose median interval counts."""
    encoder = Encoder.load(checkpoint)
    task, rate = encoder.task, encoder.frontend.sample_rate
    if not isinstance(task, TempoTask | BeatTracking):
        raise SystemExit(f"{checkpoint}: a network of {task.name}, neither of tempo nor of beats")

    def estimate(file: Path) -> tuple[float, float]:
        if isinstance(task, BeatTracking):
            return Beats(encoder.predict(load(file, rate), rate).events.times).tempo or 0.0, 0.0
        prediction = encoder.predict(load(file, rate), rate, overlapped=True)
        found = task.estimate(prediction.whole, prediction.over_time)
        return found.tempo, found.second

    return estimate


def librosa(file: Path) -> tuple[float, float]:
    """`librosa.feature.tempo`."""
    return librosa_tempo(load(file, LIBROSA_RATE)), 0.0


def essentia(method: str) -> Estimator:
    """Essentia's RhythmExtractor2013, `multifeature` or `degara`."""
    from essentia.standard import RhythmExtractor2013

    extractor = RhythmExtractor2013(method=method)

    def estimate(file: Path) -> tuple[float, float]:
        return float(extractor(load(file, RATE))[0]), 0.0

    return estimate


def measured(estimator: Estimator, files: Sequence[Path], name: str) -> tuple[np.ndarray, float]:
    """Tempi `[files, 2]`, NaN where there is none, and the seconds that they took."""
    tempi, start = np.full((len(files), 2), np.nan), time.perf_counter()
    with progress(name, len(files), "songs") as advance:
        for number, file in enumerate(files):
            try:
                tempi[number] = estimator(file)
            except (AudioError, UserError, RuntimeError, ValueError) as error:
                print(f"{name}: {file.name}: {error}")
            advance()
    tempi[tempi[:, 0] <= 0] = np.nan
    return tempi, time.perf_counter() - start


def others(table: Path, songs: Songs) -> np.ndarray:
    """What another program says, `[songs, 2]`; NaN where it says nothing."""
    said = {track.id: track.annotations.get("tempo", np.nan) for track in read_table(table, splits=False)}
    return np.array([(said.get(identity, np.nan), 0.0) for identity in songs.ids])


def systems_of(songs: Songs, folder: Path, checkpoints: Mapping[str, str], tables: Mapping[str, Path]) -> list[System]:
    """All rows, the networks first; prints the seconds of each."""
    estimators = {name: network(checkpoint) for name, checkpoint in checkpoints.items()} | {"librosa": librosa}
    try:
        estimators |= {f"Essentia {method}": essentia(method) for method in ("multifeature", "degara")}
    except ImportError:
        print("Essentia is not installed: pip install -r requirements-peers.txt")
    files, found = [folder / identity for identity in songs.ids], {}
    for name, estimator in estimators.items():
        found[name], seconds = measured(estimator, files, name)
        print(f"{name}: {seconds:.1f} s")
    found |= {name: others(table, songs) for name, table in tables.items()}
    constant = np.tile([USUAL, 0.0], (len(songs.ids), 1))
    return [System(name, *tempi.T) for name, tempi in (found | {f"always {USUAL:g} BPM": constant}).items()]


def named(values: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` by name; without a name, that of the file or the folder of the run."""
    pairs = (value.split("=", 1) if "=" in value else (Path(value).stem, value) for value in values)
    return dict(pairs)


def main() -> None:
    """Prints the table, and leaves it with a row a song and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path, help="folder of the audio")
    parser.add_argument("table", type=Path, help="paths and tempi")
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="[NAME=]FILE", help="files, or folders of runs")
    parser.add_argument("--estimates", nargs="*", default=[], metavar="NAME=TABLE", help="what other programs say")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/tempo"), help="folder of what is left")
    arguments = parser.parse_args()
    songs, checkpoints = songs_of(arguments.table), named(arguments.checkpoints)
    tables = {name: Path(table) for name, table in named(arguments.estimates).items()}
    systems = systems_of(songs, arguments.audio, checkpoints, tables)
    whole = np.all([np.isfinite(one.tempi) for one in systems], axis=0)
    if not whole.any():
        raise SystemExit(f"{arguments.audio}: no song has a tempo in every row")
    systems = [System(one.name, one.tempi[whole], None if one.second is None else one.second[whole]) for one in systems]
    songs = songs.chosen(whole)
    rows = compare(systems, songs)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(rows, systems, songs, arguments.out)
    scatter(systems, songs, arguments.out / "tempo_scatter.png")
    octave_histogram(systems, songs, arguments.out / "tempo_octaves.png")
    where_right(systems, songs, arguments.out / "tempo_where_right.png")
    left_out = f", {int((~whole).sum())} left out" if not whole.all() else ""
    print(f"{len(songs.ids)} songs{left_out}; per cent, 95 % intervals over songs\n{text(rows)}\n{MEANING}")


if __name__ == "__main__":
    main()
