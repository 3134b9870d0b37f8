"""The evaluation of a network of tempo: beside librosa and a constant on the same songs, in tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np

from datasets.beats import Beats
from datasets.corpus import Track
from datasets.csv_writing import write_table
from datasets.text import pluralize
from experiments.messages import say
from experiments.objectives import Evaluation
from experiments.tasks.tempo import TempoTask
from experiments.tasks.tempo_metrics import MEANING, correct
from experiments.tempo.baselines import best_constant, envelope_tempi, holds_onsets, librosa_tempi
from experiments.tempo.comparison import Songs, System, SystemRow, compare, text, write
from experiments.tempo.confidence import ConfidenceBin, by_decile
from experiments.tempo.confidence import text as confidence_text
from experiments.tempo.pictures import octave_histogram, scatter, where_right
from experiments.tracking import RunHandle
from experiments.training.loading import SplitLoaders
from preprocess.files import find, holds_features

LIBROSA, CONSTANT, FROM_BEATS = "librosa", "constant", "annotated_beats"  # keys in the result of a run
DECILES = "tempo_confidence.csv"


def beside_baselines(
    name: str, task: TempoTask, test: Evaluation, valid: Evaluation | None, loaders: SplitLoaders, run: RunHandle
) -> dict[str, float]:
    """Compare a network with baselines on identical songs; print it, and leave files with the run.

    Leaves `tempo_comparison.csv` and `.json`, `tempo_songs.csv` (a row a song), `tempo_confidence.csv` (Accuracy1 by
    decile of confidence), and pictures of estimates, of octave errors and of where systems are right.

    Args:
        name: Of the network.
        task: What it predicts.
        test: Its evaluation of the test split.
        valid: And of the validation split; None: there is none.
        loaders: The tracks, their annotations, and where their audio is.
        run: Keeps the files.

    Returns:
        Accuracy1 and Accuracy2 of every baseline: `test/librosa/accuracy1`, `test/constant/accuracy1`,
        `test/annotated_beats/accuracy1`, and so on.
    """
    split = loaders.splits["test"]
    tracks = {track.id: track for track in loaders.corpus or ()}
    ids = [split.ids[number] for number in test.tracks]
    known = [tracks.get(identity, Track(identity, "test", {})) for identity in ids]
    songs = Songs(ids, np.asarray(test.references, np.float64), _genres(known))
    found = [task.estimate(one) for one in test.predictions]
    systems = [
        System(name, np.array([one.tempo for one in found]), np.array([one.second for one in found])),
        *_baselines(loaders, [split.stored[number] for number in test.tracks], known, songs.tempi),
    ]
    whole = np.all([np.isfinite(one.tempi) for one in systems], axis=0)
    if not whole.all():
        say(f"{pluralize(int((~whole).sum()), 'song')} left out of the comparison: no audio that librosa can read")
        systems = [one.chosen(whole) for one in systems]
        songs = songs.chosen(whole)
    if not len(songs.ids):
        return {}
    rows = compare(systems, songs, seed=run.seed)
    parts = _confidence(task, test, valid)
    if task.kind == "class":
        say(
            f"tempi of {name} below lie between its classes, as predict gives them: accuracies differ a little from "
            "test/accuracy1 and test/accuracy2, which are of the most probable class"
        )
    if task.primary == "accuracy2":
        say(f"{name} was trained for any octave: its Accuracy1 is not to be compared")
    _leave(rows, systems, songs, parts, run)
    return {
        f"test/{system.key}/{metric}": row.scores[metric][0]
        for system, row in zip(systems[1:], rows[1:], strict=True)
        for metric in ("accuracy1", "accuracy2")
    }


def _genres(tracks: Sequence[Track]) -> list[str]:
    """One a track; none where no track has one."""
    genres = [(track.labels("genre") or ("",))[0] for track in tracks]
    return [genre or "unknown" for genre in genres] if any(genres) else []


def _baselines(
    loaders: SplitLoaders, stored: Sequence[str], tracks: Sequence[Track], annotated: np.ndarray
) -> list[System]:
    systems = []
    audio = loaders.features if loaders.features.header.kind == "audio" else _files(loaders.audio_dir, stored)
    if audio is None and holds_onsets(loaders.features):
        systems.append(
            System(f"{LIBROSA}'s rule on stored onsets", envelope_tempi(loaders.features, stored), key=LIBROSA)
        )
    elif audio is None:
        say("librosa is left out: it takes audio, and there are features alone; give the folder of the audio files")
    else:
        systems.append(System(LIBROSA, librosa_tempi(audio, stored, loaders.settings.jobs), key=LIBROSA))
    constant = best_constant(loaders.splits["train"].targets.astype(np.float64))
    systems.append(System(f"always {constant:g} BPM", np.full(len(tracks), constant), key=CONSTANT))
    beats = [track.annotations.get("beats") for track in tracks]
    from_beats = [one.tempo if isinstance(one, Beats) else None for one in beats]
    if all(tempo is not None for tempo in from_beats):
        tempi = np.array(from_beats, np.float64)
        if not np.allclose(tempi, annotated):  # else the annotated tempi are those of the beats
            systems.append(System("annotated beats", tempi, key=FROM_BEATS))
    return systems


def _files(folder: Path | None, stored: Sequence[str]) -> list[Path | None] | None:
    """The audio file of every track; None where a folder has none at all."""
    if folder is None or holds_features(folder):
        return None
    files = {file.id: file.path for file in find(folder).files}
    return [files.get(identity) for identity in stored]


def _confidence(task: TempoTask, test: Evaluation, valid: Evaluation | None) -> list[ConfidenceBin]:
    """Deciles of the validation split and of the test; none where predictions do not tell a confidence."""
    parts: list[ConfidenceBin] = []
    for name, evaluation in (("valid", valid), ("test", test)):
        if evaluation is None or evaluation.problem:
            continue
        found = [task.estimate(one) for one in evaluation.predictions]
        if any(one.confidence is None for one in found):
            return []
        right = correct(np.array([one.tempo for one in found]), np.asarray(evaluation.references, np.float64))
        parts += by_decile(name, np.array([one.confidence for one in found]), right)
    return parts


def _leave(
    rows: Sequence[SystemRow], systems: Sequence[System], songs: Songs, parts: Sequence[ConfidenceBin], run: RunHandle
) -> None:
    folder = run.directory
    say(f"tempo of {pluralize(len(songs.ids), 'song')}, accuracies in per cent with 95 % intervals over songs")
    print(text(rows))
    say(MEANING)
    files = write(rows, systems, songs, folder)
    if parts:
        print(confidence_text(parts))
        write_table(folder / DECILES, [field.name for field in fields(ConfidenceBin)], map(astuple, parts))
        files.append(folder / DECILES)
    files += [
        scatter(systems, songs, folder / "tempo_scatter.png"),
        octave_histogram(systems, songs, folder / "tempo_octaves.png"),
        where_right(systems, songs, folder / "tempo_where_right.png"),
    ]
    for file in files:
        run.add_artifact(file)
    say(f"comparison: {files[0]}, a row a song: {files[2]}; pictures: {folder / 'tempo_*.png'}")
