"""Audio files in, predictions out: ranked classes, or values; for the whole track, and over time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets.csv_writing import TableWriter
from datasets.label_names import display_name
from datasets.progress import progress
from datasets.text import pluralize, printable
from datasets.windows import cut, is_short
from experiments import reports
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.audio_files import audio_named, decoded, refuse_replaced, stamp
from experiments.inference.results import Results
from experiments.inference.selection import network_words, say_unfitted, selection_of, tag_set
from experiments.inference.tag_map import tag_map
from experiments.messages import say
from experiments.networks.opening import open_encoder, windowing_of
from experiments.settings import PredictionSettings, PretrainSettings
from experiments.tasks.base import Task
from experiments.tracking import RunHandle
from experiments.windowing import Windowing
from models.cost import savings
from models.fingerprint import fingerprint
from models.prediction import Prediction
from models.running import OpenTrack, Runner, in_batches, logits_of
from models.selection import Selection
from models.thresholds import Thresholds
from preprocess.files import Candidate, storable

LONGEST_STEM = 60  # characters of a song in the name of its picture
PICTURES = 10  # files of one call that get a picture
PICTURE = "over_time_{}.png"
SKIPPED = "skipped.csv"
SHOWN = 20  # files of one call whose classes are printed
MANY = 100  # files, from which on a stop would hurt
RANKED = 10  # classes of a file in the ranking where no setting says it


@dataclass(frozen=True)
class Predictor:
    """What predicts audio.

    Attributes:
        encoder: The network.
        task: What the predictions mean.
        windowing: How audio is cut.
        run_batch: Windows as they are decoded to arrays `[windows, ...]`.
        predict: What `run_batch` gave for the windows of a file, `[windows, ...]`, and their first rows, to the
            predictions of every window, `[windows, n_outputs]`, and of the file, `[n_outputs]`.
        producer: What the predictions are made with besides; plain values.
        padded: Whether a file that is much shorter than a window is always padded, as in an extraction.
        last_layer: Of the network; nothing runs after it. None: to the end.
        thresholds: Of a tagger, fitted for these weights.
        words: Of a command line that name the network, where thresholds can be fitted for it.
    """

    encoder: Encoder
    task: Task
    windowing: Windowing
    run_batch: Runner
    predict: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    producer: Mapping[str, Any] = field(default_factory=dict)
    padded: bool = False
    last_layer: str | None = None
    thresholds: Thresholds | None = None
    words: Sequence[str] = ()


def predict(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Rank the classes of a file, or of every audio file in a folder, by the network's own head; see `predict_files`.

    Raises:
        UserError: No audio was named, it does not exist, or none of it could be predicted.
    """
    inference = settings.inference
    if inference.random_weights:
        raise UserError("inference.random_weights: an untrained network has no classes; give inference.checkpoint")
    files = audio_named(inference.audio)
    encoder = open_encoder(settings)
    if settings.datamodule.input is not None:
        encoder = encoder.fed(settings.datamodule.input == "audio")
    windowing, join = windowing_of(settings, encoder, settings.datamodule.clip_length), inference.join
    if encoder.task.clip_level:  # a join that does not fit is an error before the work
        one = np.ones((1, encoder.task.n_outputs))
        encoder.task.join_outputs(one, one, np.zeros(1), join)
    predictor = Predictor(
        encoder,
        encoder.task,
        windowing,
        encoder.runner(logits_of),
        partial(encoder.decode, join=join),
        {} if join == "mean" else {"join": join},
        thresholds=encoder.thresholds,
        words=network_words(settings),
    )
    return predict_files(files, predictor, inference, settings.datamodule.jobs, run)


def predict_files(
    files: Sequence[Candidate], predictor: Predictor, inference: PredictionSettings, jobs: int, run: RunHandle
) -> dict[str, float]:
    """Predict audio files; what cannot be read is named and left out.

    Leaves `predictions.json` (selected, ranked, and over time), `ranked.csv` (a row a rank), `predictions.csv` (a row a
    window, all classes) and pictures of the first files, each drawn before its file counts as done, in
    `inference.out_dir` or with the run. Files that the folder has already are not predicted again, so that a call that
    was stopped goes on; which of their tags are given may change.

    Args:
        files: Of `audio_named`.
        predictor: Of them.
        inference: Where predictions go, and how many windows at once.
        jobs: Processes that decode beside a GPU.
        run: Keeps the files too.

    Raises:
        UserError: None of the files could be predicted, or the folder holds other predictions, or predictions of what
            the files were before.
    """
    encoder, windowing, task = predictor.encoder, predictor.windowing, predictor.task
    selection = selection_of(inference, task, predictor.thresholds, encoder.weights)
    if line := savings(encoder.network, (windowing.frames, *encoder.frontend.item_shape), predictor.last_layer):
        say(line)
    results = _results(inference, run, predictor, selection)
    with results:
        refuse_replaced(files, results.done, results.folder)
        todo = [file for file in files if storable(file.path) not in results.done]
        already = len(files) - len(todo)
        if already and task.kind == "tags" and selection:
            were = pluralize(already, "file was predicted before; its", "files were predicted before; their")
            say(f"{were} tags are selected again with these settings")
        if len(todo) >= MANY and inference.out_dir is None:
            say(f"{len(todo)} files: with inference.out_dir=FOLDER, a call that is stopped goes on where it was")
        skipped = _predict(todo, predictor, selection, inference.batch_size, jobs, results, run)
        if len(skipped) == len(files):
            raise UserError(
                f"none of {len(files)} files could be predicted; the reasons are above"
                if len(files) > 1
                else "the file could not be predicted; the reason is above"
            )
        say_unfitted(inference, task, predictor.thresholds, predictor.words)
        _leave(results, skipped, todo, run)
    predicted = len(todo) - len(skipped)
    before, reasons = f" ({already:,} before)" if already else "", f" ({results.folder / SKIPPED})" if skipped else ""
    say(f"{predicted:,} predicted{before}, {len(skipped):,} skipped{reasons}")
    return {"predicted": predicted, "already": already, "skipped": len(skipped)}


def _results(
    inference: PredictionSettings, run: RunHandle, predictor: Predictor, selection: Selection | None
) -> Results:
    encoder, task, top = predictor.encoder, predictor.task, inference.top or RANKED
    meaning = {key: encoder.description[key] for key in ("task", "labels", "options") if key in encoder.description}
    producer = {
        "weights": encoder.weights,
        "network": fingerprint({**encoder.identity, **meaning}),
        **predictor.windowing.record,
        "top": top,
        **predictor.producer,
    }
    folder = Path(inference.out_dir).expanduser() if inference.out_dir else run.directory
    about = {"tag_set": tag_set(task.classes), "weights": encoder.weights}
    return Results(folder, producer, task.classes, task.kind, top, inference.overwrite, selection, about)


def _predict(
    todo: Sequence[Candidate],
    predictor: Predictor,
    selection: Selection | None,
    batch_size: int,
    jobs: int,
    results: Results,
    run: RunHandle,
) -> list[tuple[str, str]]:
    """Predict files one after another; returns those that cannot be, and why."""
    task, windowing, pictures = predictor.task, predictor.windowing, len(results.done)
    skipped: list[tuple[str, str]] = []
    padded = 0
    stamps = {storable(file.path): stamp(file) for file in todo}
    _drop_pictures(results.folder, pictures)
    with progress("predicting", len(todo), "files") as advance:

        def opened() -> Iterator[OpenTrack]:
            nonlocal padded
            for file, tracks in decoded(todo, predictor.encoder, jobs):
                name = storable(file.path)
                windows = tracks if isinstance(tracks, str) else _cut(tracks[0].frames, predictor)
                if isinstance(windows, str):
                    skipped.append((name, windows))
                    say(f"skipped: {printable(name)}: {windows}")
                    advance()
                    continue
                for note in tracks[0].notes:
                    say(f"{printable(name)}: {note}")
                track = OpenTrack(name, *windows, len(tracks[0].frames))
                padded += is_short(len(tracks[0].frames), windowing.rows) and track.length == windowing.rows
                yield track

        for done in in_batches(opened(), predictor.run_batch, batch_size):
            (outputs,) = (np.stack(values) for values in zip(*done.outputs, strict=True))
            over_time, whole = predictor.predict(outputs, done.starts)
            times, length = done.starts / windowing.rate, done.length / windowing.rate
            prediction = Prediction(task.classes, task.kind, times, length, over_time, whole, selection)
            # before its file is entered: a call that is killed between them draws it again
            if task.clip_level and pictures < PICTURES:
                _draw(done.name, prediction, results, run, pictures)
                pictures += 1
            results.enter(done.name, prediction, stamps[done.name])
            advance()
    if padded:
        seconds = windowing.rows / windowing.rate
        say(f"shorter than nine tenths of a window ({seconds:.1f} s), padded with silence: {pluralize(padded, 'file')}")
    return skipped


def _cut(rows: np.ndarray, predictor: Predictor) -> tuple[np.ndarray, list[np.ndarray]] | str:
    """The windows of a file, or why the network cannot see it."""
    encoder, windowing = predictor.encoder, predictor.windowing
    try:
        unpadded = None if predictor.padded else encoder.unpadded(len(rows), windowing)
    except UserError as error:
        return str(error)
    return cut(rows, windowing.plan, encoder.fill(), unpadded)


def _drop_pictures(folder: Path, done: int) -> None:
    """Delete the pictures of files that are not done: of a call that was killed, or before new predictions."""
    for picture in folder.glob(PICTURE.format("[0-9][0-9]_*")):
        if int(picture.name.split("_")[2]) >= done:
            picture.unlink(missing_ok=True)


def _draw(audio: str, prediction: Prediction, results: Results, run: RunHandle, number: int) -> None:
    name = re.sub(r"[^\w.-]+", "_", Path(audio).stem)[:LONGEST_STEM] or "audio"
    picture = results.folder / PICTURE.format(f"{number:02d}_{name}")
    middles = prediction.times + prediction.window / 2
    labels = [display_name(label) for label in results.labels]
    title = Path(audio).name
    if prediction.kind == "tags":
        run.add_artifact(tag_map(replace(prediction, labels=labels), picture, title))
        return
    unit = "value" if results.values else "probability"
    run.add_artifact(reports.tag_curves(middles, prediction.over_time, labels, picture, title=title, unit=unit))


def _print_classes(summary: Mapping[str, Any], results: Results) -> None:
    """The tags that were selected; of other tasks the ranking, or the values."""
    shown = summary["selected"] if results.kind == "tags" and "selected" in summary else summary[results.key]
    for label, value in shown.items():
        name = printable(display_name(label))
        print(f"  {value:8.2f}  {name}" if results.values else f"  {value:6.1%}  {name}")
    if summary.get("selection", {}).get("below_thresholds"):
        print("  (no tag reaches its threshold: the most probable is given)")


def _leave(results: Results, skipped: Sequence[tuple[str, str]], todo: Sequence[Candidate], run: RunHandle) -> None:
    """Print what this call predicted, and leave the files with the run."""
    new = {storable(file.path) for file in todo}
    shown = 0
    for summary in results.summaries():
        if summary["audio"] in new and shown < SHOWN:
            shown += 1
            print(printable(summary["audio"]))
            _print_classes(summary, results)
    files, reasons = results.finish(), results.folder / SKIPPED
    reasons.unlink(missing_ok=True)  # of an earlier call, whose run may keep it
    if skipped:
        with reasons.open("w", newline="", encoding="utf-8") as handle:
            TableWriter(handle).writerows([("audio", "reason"), *skipped])
        files.append(reasons)
    for file in files:
        run.add_artifact(file)
    ranking = "values" if results.values else "the best classes"
    everything = "all files, " if len(new) - len(skipped) > shown else ""
    say(f"{everything}{ranking}: {files[0]} (also over time), {files[1]} (a table)")
    say(f"all {'values' if results.values else 'classes'} over time: {files[2]}")
    say(f"pictures of the first {PICTURES}: {results.folder / PICTURE.format('*')}")
