"""Audio files in, predictions out: ranked classes, values, or beats; for the whole track, and over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from datasets.csv_writing import TableWriter
from datasets.progress import progress
from datasets.text import pluralize, printable
from datasets.windows import is_short
from experiments.errors import UserError
from experiments.inference.audio_files import audio_named, decoded, refuse_replaced, stamp
from experiments.inference.beat_files import BeatFiles
from experiments.inference.network_predictor import network_predictor
from experiments.inference.predictor import Keeper, Predictor
from experiments.inference.ranked import Ranked
from experiments.inference.refusals import notes_on, refused
from experiments.inference.tempo_files import TempoFiles
from experiments.messages import say
from experiments.settings import PredictionSettings, PretrainSettings
from experiments.tasks.tempo import TempoTask
from experiments.tracking import RunHandle
from models.cost import savings
from models.running import OpenTrack, in_batches
from preprocess.files import Candidate, storable

SKIPPED = "skipped.csv"
MANY = 100  # files, from which on a stop would hurt


def predict(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Predict a file, or every audio file in a folder, by the network's own head; see `predict_files`.

    Raises:
        UserError: No audio was named, it does not exist, or none of it could be predicted.
    """
    files = audio_named(settings.inference.audio)
    predictor = network_predictor(settings, len(files))
    return predict_files(files, predictor, settings.inference, settings.datamodule.jobs, run)


def predict_files(
    files: Sequence[Candidate], predictor: Predictor, inference: PredictionSettings, jobs: int, run: RunHandle
) -> dict[str, float]:
    """Predict audio files; what cannot be read is named and left out.

    What is left of the predictions, in `inference.out_dir` or with the run, depends on what they are: see `Ranked`
    and `BeatFiles`. Files that the folder has already are not predicted again, so that a call that was stopped goes on.

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
    encoder, windowing = predictor.encoder, predictor.windowing
    with _keeper(files, predictor, inference, run) as keeper:
        if line := savings(encoder.network, (windowing.frames, *encoder.frontend.item_shape), predictor.last_layer):
            say(line)
        refuse_replaced(files, keeper.done, keeper.folder)
        todo = [file for file in files if storable(file.path) not in keeper.done]
        already = len(files) - len(todo)
        keeper.say_already(already)
        if len(todo) >= MANY and inference.out_dir is None:
            say(f"{len(todo)} files: with inference.out_dir=FOLDER, a call that is stopped goes on where it was")
        skipped = _predict(todo, predictor, inference.batch_size, jobs, keeper, alone=len(files) == 1)
        if len(skipped) == len(files):
            (name, reason), *others = skipped.items()
            raise UserError(
                f"none of {len(files)} files could be predicted; the reasons are above"
                if others
                else f"{printable(name)} could not be predicted: {reason}"
            )
        reasons = keeper.folder / SKIPPED
        reasons.unlink(missing_ok=True)  # of an earlier call, whose run may keep it
        if skipped:
            with reasons.open("w", newline="", encoding="utf-8") as handle:
                TableWriter(handle).writerows([("audio", "reason"), *skipped.items()])
            run.add_artifact(reasons)
        keeper.leave([name for file in todo if (name := storable(file.path)) not in skipped])
    predicted = len(todo) - len(skipped)
    before, why = f" ({already:,} before)" if already else "", f" ({reasons})" if skipped else ""
    say(f"{predicted:,} predicted{before}, {len(skipped):,} skipped{why}")
    return {"predicted": predicted, "already": already, "skipped": len(skipped)}


def _keeper(files: Sequence[Candidate], predictor: Predictor, inference: PredictionSettings, run: RunHandle) -> Keeper:
    """What keeps predictions of this kind.

    Raises:
        UserError: Clicks are wanted of something else than beats; or as the keeper's class says.
    """
    if predictor.task.kind == "events":
        return BeatFiles(files, predictor, inference, run)
    if inference.clicks:
        raise UserError(f"inference.clicks is for beats, and this network predicts {predictor.task.name}: leave it out")
    kind = TempoFiles if isinstance(predictor.task, TempoTask) else Ranked
    return kind(predictor, inference, run)


def _predict(
    todo: Sequence[Candidate], predictor: Predictor, batch_size: int, jobs: int, keeper: Keeper, alone: bool
) -> dict[str, str]:
    """Predict files one after another; returns those that cannot be, and why, which of one `alone` an error says."""
    windowing = predictor.windowing
    skipped: dict[str, str] = {}
    padded = 0
    by_name = {storable(file.path): (file, stamp(file)) for file in todo}
    with progress("predicting", len(todo), "files") as advance:

        def skip(name: str, reason: str) -> None:
            skipped[name] = reason
            if not alone:
                say(f"skipped: {printable(name)}: {reason}")
            advance()

        def opened() -> Iterator[OpenTrack]:
            nonlocal padded
            for file, tracks in decoded(todo, predictor.encoder, jobs):
                name, outcome = storable(file.path), tracks if isinstance(tracks, str) else tracks[0]
                try:
                    if reason := refused(predictor.task, outcome):
                        raise UserError(reason)
                    track = predictor.opened(name, outcome.frames)
                except UserError as error:
                    skip(name, str(error))
                    continue
                for note in notes_on(predictor.task, outcome):
                    say(f"{printable(name)}: {note}")
                padded += is_short(len(outcome.frames), windowing.rows) and track.length == windowing.rows
                yield track

        for done in in_batches(opened(), predictor.run_batch, batch_size):
            try:
                prediction = predictor.prediction(done)
            except UserError as error:  # what the network gives for this file cannot be used
                skip(done.name, str(error))
                continue
            keeper.keep(by_name[done.name][0], prediction, by_name[done.name][1])
            advance()
    if padded and predictor.task.clip_level:
        seconds = windowing.rows / windowing.rate
        say(f"shorter than nine tenths of a window ({seconds:.1f} s), padded with silence: {pluralize(padded, 'file')}")
    return skipped
