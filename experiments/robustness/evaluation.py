"""A trained network on the test split as it is and with its audio changed (Won et al., SMC 2020, section 5)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from datasets.examples import Examples, require_nonempty
from datasets.progress import Advance, progress
from datasets.store import Reader
from datasets.text import pluralize, printable
from datasets.upstream import open_features
from datasets.windows import cut
from datasets.workers import mapped
from experiments import distributed
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.messages import say
from experiments.networks.opening import open_encoder, say_rounded, windowing_of
from experiments.robustness.comparison import compare, write_report
from experiments.settings import DatamoduleSettings, PretrainSettings
from experiments.tracking import RunHandle
from experiments.tracks.data import DataSource, fit_labels, open_source, read_corpus
from experiments.tracks.examples import examples
from experiments.tracks.unmatched import match, report_unannotated
from experiments.windowing import Windowing
from models.files import replaced
from models.fingerprint import fingerprint
from models.frontends import FrontEnd
from models.perturbations import PERTURBATIONS, apply
from models.running import OpenTrack, in_batches, logits_of
from preprocess.arrays import mono, rows_of
from preprocess.files import holds_features
from preprocess.sources import AudioError

CLEAN = "clean"
ABOUT = "robustness.json"  # in the folder of the predictions: what they were made with
FEW = 4  # tracks a process, below which starting processes takes longer than they save
AHEAD = 64  # tracks changed ahead of the network at most


@dataclass(frozen=True)
class Trial:
    """What is evaluated.

    Attributes:
        encoder: The network.
        windowing: How tracks are cut.
        tracks: The test split.
        audio: Reader of its audio, at the sample rate of the front end.
        join: How the windows of a track become one prediction.
        batch_size: Windows at once.
        jobs: Processes that change audio.
    """

    encoder: Encoder
    windowing: Windowing
    tracks: Examples
    audio: Reader
    join: str
    batch_size: int
    jobs: int


def evaluate(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Evaluate a network on clean and on changed audio, and compare.

    Predictions of every change are kept in `inference.out_dir`, or with the run, once they are complete: the same
    command with the same folder goes on where it was stopped.

    Returns:
        `clean/METRIC` and `CHANGE/METRIC`.

    Raises:
        UserError: There is no audio, the task is not one of whole tracks, or the folder holds other predictions.
    """
    if distributed.world_size() > 1:
        raise UserError("robustness.perturbations: evaluated by one process; leave the launcher out")
    trial = _trial(settings, run)
    folder = Path(settings.inference.out_dir).expanduser() if settings.inference.out_dir else run.directory
    names = [CLEAN, *changes(settings.robustness.perturbations)]
    _claim(folder, trial, settings.inference.overwrite)
    missing = [name for name in names if not _file(folder, name).is_file()]
    if len(missing) < len(names):
        say(f"{folder} has the predictions of {', '.join(name for name in names if name not in missing)}")
    with progress("evaluating", len(missing) * len(trial.tracks), "tracks") as advance:
        for name in missing:
            predictions = _predicted(trial, name, advance)
            with replaced(_file(folder, name)) as aside, aside.open("wb") as handle:
                np.save(handle, predictions)
    predictions = {name: np.load(_file(folder, name), allow_pickle=False) for name in names}
    return _compared(trial, predictions, settings.robustness.resamples, run)


def changes(kinds: Sequence[str] | str | None) -> list[str]:
    """Names of the changes of some kinds, or of all."""
    chosen = PERTURBATIONS if kinds == "all" else dict.fromkeys(kinds or ())
    return [name for kind in chosen for name in PERTURBATIONS[kind]]


def _trial(settings: PretrainSettings, run: RunHandle) -> Trial:
    datamodule, encoder = settings.datamodule, open_encoder(settings)
    task, join = encoder.task, settings.inference.join or encoder.task.usual_join
    if not task.clip_level:
        raise UserError(
            f"robustness.perturbations: {task.name} has targets over time, which a time-stretch moves: leave it out"
        )
    task.checked_join(join)
    settings.rhythm.check_unread(f"an evaluation of the task {task.name}")
    if datamodule.input == "audio":
        encoder = encoder.fed(True)
    source = _audio(datamodule, encoder)
    say_rounded(encoder, source)
    corpus, stored = match(
        read_corpus(datamodule, source, task), source.features.ids, source.base_dir, datamodule.max_unmatched, run
    )
    corpus = fit_labels(datamodule, corpus, task)
    report_unannotated(task, corpus, datamodule.max_unmatched, run)
    splits = examples(task, corpus, stored)
    require_nonempty(splits, "test")
    seconds = datamodule.clip_length if encoder.network.window_samples else None
    windowing = windowing_of(settings, encoder, seconds)
    batch_size = settings.inference.batch_size
    return Trial(encoder, windowing, splits["test"], source.features, join, batch_size, datamodule.jobs)


def _audio(datamodule: DatamoduleSettings, encoder: Encoder) -> DataSource:
    """Tracks as audio, whatever the network is made for."""
    base = Path(datamodule.base_dir).expanduser() if datamodule.base_dir else None
    if base and base.is_dir() and holds_features(base) and (kind := open_features(base).header.kind) != "audio":
        raise UserError(
            f"robustness.perturbations change audio, and {base} holds {kind}: give the folder of the audio files, or a "
            "store of audio, datamodule.base_dir=FOLDER"
        )
    settings = datamodule.model_copy(update={"input": "audio"})
    return open_source(settings, encoder.frontend, "audio", task=encoder.task)


def _claim(folder: Path, trial: Trial, overwrite: bool) -> None:
    """Note what the predictions of a folder are made with.

    Raises:
        UserError: Those in it were made with something else.
    """
    encoder, tracks = trial.encoder, trial.tracks
    about = {
        "weights": encoder.weights,
        "network": fingerprint({**encoder.identity, "labels": list(encoder.labels)}),
        **trial.windowing.record,
        "join": trial.join,
        "audio": trial.audio.header.dtype,
        "tracks": fingerprint({"in order": [[one, trial.audio.length(one)] for one in tracks.stored]}),
    }
    known = folder / ABOUT
    if known.is_file() and not overwrite:
        before = json.loads(known.read_text(encoding="utf-8"))
        if other := [key for key in about if before.get(key) != about[key]]:
            raise UserError(
                f"{folder} holds predictions of another evaluation ({', '.join(other)} differ): choose another "
                "inference.out_dir, or replace them with inference.overwrite=True"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CLEAN, *changes("all")):
        _file(folder, name).unlink(missing_ok=True)
    with replaced(known) as aside:
        aside.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _file(folder: Path, name: str) -> Path:
    return folder / f"predictions_{name}.npy"


def _predicted(trial: Trial, name: str, advance: Advance) -> np.ndarray:
    """Predictions of all tracks, `[tracks, n_outputs]`; NaN where a track cannot be seen."""
    encoder, task = trial.encoder, trial.encoder.task
    predictions = np.full((len(trial.tracks), task.n_outputs), np.nan, np.float32)

    def opened() -> Iterator[OpenTrack]:
        for number, rows in enumerate(_changed(trial, name)):
            if isinstance(rows, str):
                say(f"left out, {name}: {printable(trial.tracks.ids[number])}: {rows}")
                advance()
                continue
            yield OpenTrack(str(number), *cut(rows, trial.windowing.plan, encoder.fill()))

    for done in in_batches(opened(), encoder.runner(logits_of), trial.batch_size):
        (logits,) = (np.stack(values) for values in zip(*done.outputs, strict=True))
        predictions[int(done.name)] = encoder.decode(logits, done.starts, trial.join)[1]
        advance()
    return predictions


def _changed(trial: Trial, name: str) -> Iterator[np.ndarray | str]:
    """What windows of the tracks are cut from, in their order; why not, where that cannot be."""
    as_audio, ids = trial.encoder.audio, trial.tracks.stored
    change = partial(changed_rows, trial.audio, name=name, frontend=trial.encoder.frontend, as_audio=as_audio)
    jobs = 1 if name == CLEAN and as_audio else min(effective_n_jobs(trial.jobs), len(ids) // FEW)
    return mapped(change, ids, jobs, AHEAD)


def changed_rows(audio: Reader, identity: str, name: str, frontend: FrontEnd, as_audio: bool) -> np.ndarray | str:
    """The changed samples of a track, or their features; the reason where there are none."""
    try:
        samples = mono(np.asarray(audio.read_crop(identity, 0, audio.length(identity))))
        if name != CLEAN:
            samples = apply(name, samples, frontend.sample_rate, identity)
        return rows_of(samples, frontend.sample_rate, frontend, as_audio)
    except AudioError as error:
        return error.reason


def _compared(trial: Trial, predictions: dict[str, np.ndarray], resamples: int, run: RunHandle) -> dict[str, Any]:
    """The scores of the tracks that every change leaves long enough."""
    whole = np.all([np.isfinite(one).all(1) for one in predictions.values()], axis=0)
    if not whole.any():
        raise UserError("no test track is left after all changes; the reasons are above")
    if not whole.all():
        left_out = pluralize(int((~whole).sum()), "track is", "tracks are")
        say(f"{left_out} left out of all scores")
    kept = {name: one[whole] for name, one in predictions.items()}
    rows = compare(trial.encoder.task, kept, trial.tracks.targets[whole], resamples)
    write_report(rows, int(whole.sum()), run)
    return {f"{row.name}/{row.metric}": row.score for row in rows}
