"""Audio files in, answers out: ranked classes, or values; for the whole track, and over time."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import delayed, effective_n_jobs
from torch import Tensor, nn

from datasets.clips import window_starts
from datasets.csv_writing import TableWriter
from datasets.text import printable
from datasets.windows import is_short, pad_centred
from datasets.workers import workers
from experiments import networks, reports
from experiments.errors import UserError
from experiments.inference.cost import savings
from experiments.inference.inference import device_of, runner, window_frames
from experiments.inference.results import Prediction, Results
from experiments.labels import display_name
from experiments.messages import say
from experiments.progress import progress
from experiments.settings import PretrainSettings
from experiments.tasks.base import Task
from experiments.tracking.run import RunHandle
from experiments.tracks.data import FRONTEND
from experiments.training.trainer import check_accelerator
from models.fingerprint import fingerprint
from models.frontends import build as build_frontend
from models.maest import PATCH, grid_size
from preprocess.features import Track
from preprocess.files import Candidate, find, storable
from preprocess.quiet import quiet_libraries
from preprocess.worker import attempt

LONGEST_STEM = 60  # characters of a song in the name of its picture
PICTURES = 10  # files of one call that get a picture
PICTURE = "over_time_{}.png"
SHOWN = 20  # files of one call whose classes are printed
MANY = 100  # files, from which on a stop would hurt
GROUP = 256  # files decoded ahead of the network at most


@dataclass(frozen=True)
class System:
    """What answers for audio.

    Attributes:
        found: The network that hears windows.
        task: What the answers mean.
        frames: Length of a window.
        hop: From one window to the next, frames.
        forward: The network and normalised clips `[windows, bands, frames]` to `[windows, ...]`.
        answer: What `forward` gave for the windows of a file, float32, to the task's predictions for every window,
            `[windows, n_outputs]`, and for the file, `[n_outputs]`.
        made: What the answers are made with besides; plain values.
        padded: Whether a file that is much shorter than a window is centred in zeros, as in an extraction.
        last_block: Of the network; nothing runs after it. None: to the end.
    """

    found: networks.Loaded
    task: Task
    frames: int
    hop: int
    forward: Callable[[nn.Module, Tensor], Tensor]
    answer: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    made: Mapping[str, Any] = field(default_factory=dict)
    padded: bool = False
    last_block: int | None = None


def predict(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Rank the classes of a file, or of every audio file in a folder, by the network's own head; see `answer_files`.

    Raises:
        UserError: No audio was named, it does not exist, or none of it could be read.
    """
    check_accelerator(settings.trainer)
    if settings.inference.random_weights:
        raise UserError("inference.random_weights: an untrained network has no classes; give inference.checkpoint")
    files = audio_named(settings.inference.audio)
    found = networks.load(settings, build_frontend(FRONTEND))
    frames = window_frames(settings, found)
    hop = frames // 2 if settings.inference.half_overlapped_inference else frames
    task = found.task()

    def answer(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        over_time = task.decode(logits)
        return over_time, over_time.mean(axis=0)

    return answer_files(files, System(found, task, frames, hop, networks.classify, answer), settings, run)


def answer_files(
    files: Sequence[Candidate], system: System, settings: PretrainSettings, run: RunHandle
) -> dict[str, float]:
    """Answer for audio files; what cannot be read is named and left out.

    Leaves `predictions.json` (ranked, and over time), `ranked.csv` (a row a rank), `predictions.csv` (a row a window,
    all classes) and pictures of the first files, each drawn before its file counts as done, in `inference.out_dir` or
    with the run. Files that the folder has already are not predicted again, so that a call that was stopped goes on.

    Args:
        files: Of `audio_named`.
        system: What answers.
        settings: Where answers go, how many windows at once, on what.
        run: Keeps the files too.

    Raises:
        UserError: None of the files could be read, or the folder holds other answers, or answers for what the files
            were before.
    """
    if line := savings(system.found.network, system.frames, system.last_block):
        say(line)
    results = _results(settings, run, system)
    with results:
        _refuse_replaced(files, results)
        todo = [file for file in files if storable(file.path) not in results.done]
        already = len(files) - len(todo)
        if len(todo) >= MANY and settings.inference.out_dir is None:
            say(f"{len(todo)} files: with inference.out_dir=FOLDER, a call that is stopped goes on where it was")
        skipped = _predict(todo, settings, run, system, results)
        if len(skipped) == len(files):
            raise UserError(
                f"none of {len(files)} files could be read; the reasons are above"
                if len(files) > 1
                else "the file could not be read; the reason is above"
            )
        _leave(results, skipped, todo, run)
    return {"predicted": len(todo) - len(skipped), "already": already, "skipped": len(skipped)}


def _stamp(file: Candidate) -> list[int] | None:
    """Size and time of the last change; None where the file is gone, which whoever reads it will say."""
    try:
        about = file.path.stat()
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns]


def _refuse_replaced(files: Sequence[Candidate], results: Results) -> None:
    done = ((file, results.done.get(storable(file.path))) for file in files)
    replaced = [storable(file.path) for file, then in done if then is not None and then != _stamp(file)]
    if replaced:
        raise UserError(
            f"{len(replaced)} files were replaced since {results.folder} got predictions for them: "
            f"{', '.join(replaced[:3])}{', ...' if len(replaced) > 3 else ''}; predict all again with "
            "inference.overwrite=True, or choose another inference.out_dir"
        )


def audio_named(audio: str | None) -> list[Candidate]:
    """The file, or the audio files of the folder, that `inference.audio` names.

    Raises:
        UserError: It names nothing, or nothing that exists, or a folder without audio.
    """
    if audio is None:
        raise UserError("inference.audio is not set: name an audio file or a folder, inference.audio=song.mp3")
    path = Path(audio).expanduser()
    if path.is_dir():
        return find(path).files
    if not path.exists():
        raise UserError(f"inference.audio={audio}: no such file or folder")
    return [Candidate(path.name, path)]


def cut(
    mel: np.ndarray, frames: int, hop: int, stride: int, padded: bool = False
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cut features into windows; what is much shorter than one is a single short clip, without padding.

    Args:
        mel: `[n, bands]`.
        frames: Length of a window.
        hop: From one window to the next.
        stride: Hop of the network's patches in frames: frames behind the last patch of a short clip are left out.
        padded: Centre a short clip in zeros instead.

    Returns:
        Start of every window in frames, and the windows, `[frames or less, bands]` each.
    """
    if is_short(len(mel), frames) and not padded:
        return np.zeros(1, dtype=int), [mel[: PATCH + stride * (grid_size(len(mel), stride) - 1)]]
    starts = np.array(window_starts(len(mel), frames, hop))
    clips = [mel[start : start + frames] for start in starts]
    return starts, [clip if len(clip) == frames else pad_centred(clip, frames) for clip in clips]


def _results(settings: PretrainSettings, run: RunHandle, system: System) -> Results:
    inference = settings.inference
    made = {
        "weights": system.found.weights,
        "network": fingerprint(system.found.description),
        "window_frames": system.frames,
        "hop_frames": system.hop,
        "top": inference.top,
        **system.made,
    }
    folder = Path(inference.out_dir).expanduser() if inference.out_dir else run.directory
    values = system.task.kind == "values"
    return Results(folder, made, system.task.classes, inference.top, inference.overwrite, values)


def _predict(
    todo: Sequence[Candidate],
    settings: PretrainSettings,
    run: RunHandle,
    system: System,
    results: Results,
) -> list[tuple[str, str]]:
    """Predict files one after another; returns those that cannot be, and why."""
    found, rate, pictures = system.found, system.found.frontend.frame_rate, len(results.done)
    window = system.frames, system.hop
    stride = int(found.description["network"].get("stride_t", 1))
    skipped: list[tuple[str, str]] = []
    stamps = {storable(file.path): _stamp(file) for file in todo}
    _drop_pictures(results.folder, pictures)
    with progress("predicting", len(todo), "files") as advance:

        def opened() -> Iterator[_Open]:
            for file, tracks in _decoded(todo, settings):
                name = storable(file.path)
                reason = tracks if isinstance(tracks, str) else _unseen(system, len(tracks[0].frames))
                if reason:
                    skipped.append((name, reason))
                    say(f"skipped: {printable(name)}: {reason}")
                    advance()
                    continue
                (track,) = tracks
                for note in track.notes:
                    say(f"{printable(name)}: {note}")
                yield _Open(name, *cut(track.frames, *window, stride, system.padded))

        run_batch = runner(found, settings, system.forward)
        for done in _in_batches(opened(), run_batch, settings.inference.batch_size):
            over_time, whole = system.answer(np.stack(done.outputs))
            prediction = Prediction(done.audio, done.starts / rate, done.length / rate, over_time, whole)
            if pictures < PICTURES:  # before its file is entered: a call that is killed between them draws it again
                _draw(prediction, results, run, pictures)
                pictures += 1
            results.enter(prediction, stamps[done.audio])
            advance()
    return skipped


def _decoded(files: Sequence[Candidate], settings: PretrainSettings) -> Iterator[tuple[Candidate, list[Track] | str]]:
    """Features of files in their order: beside a GPU by other processes, on a CPU between two batches."""
    jobs = min(effective_n_jobs(settings.datamodule.jobs), len(files) // 4)
    if device_of(settings).type == "cpu" or jobs < 2:
        for file in files:
            with quiet_libraries():
                outcome = attempt(file, FRONTEND, None, None, os.getpid())
            yield outcome
        return
    with workers(jobs, return_as="generator", batch_size=1) as parallel:
        for start in range(0, len(files), GROUP):
            tasks = (delayed(attempt)(file, FRONTEND, None, None, os.getpid()) for file in files[start : start + GROUP])
            with closing(parallel(tasks)) as outcomes:
                yield from outcomes


def _unseen(system: System, frames: int) -> str:
    """Why the network cannot see a short clip: patchout may leave nothing of it; empty if it can."""
    if system.padded or not hasattr(system.found.network, "count_tokens"):
        return ""
    try:
        system.found.network.count_tokens(min(frames, system.frames))
    except ValueError as error:
        return str(error)
    return ""


@dataclass
class _Open:
    """A file whose windows wait for the network.

    Attributes:
        audio: Its name.
        starts: Of its windows, frames.
        clips: Its windows.
        outputs: Of the windows that are through.
    """

    audio: str
    starts: np.ndarray
    clips: list[np.ndarray]
    outputs: list[Any] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.length, self.left = len(self.clips[0]), len(self.clips)
        self.outputs = [None] * self.left


def _in_batches(files: Iterable[_Open], run_batch: Callable[[Tensor], Any], batch_size: int) -> Iterator[_Open]:
    """Run windows of one length together, whichever files they are of; yields every file when it is through."""
    waiting: defaultdict[int, list[tuple[_Open, int]]] = defaultdict(list)
    for file in files:
        for number in range(len(file.clips)):
            queue = waiting[file.length]
            queue.append((file, number))
            if len(queue) == batch_size:
                yield from _through(queue, run_batch)
    for queue in waiting.values():
        yield from _through(queue, run_batch)


def _through(queue: list[tuple[_Open, int]], run_batch: Callable[[Tensor], Any]) -> Iterator[_Open]:
    """Run what waits, and empty the queue."""
    batch, queue[:] = list(queue), []
    if not batch:
        return
    clips = torch.from_numpy(np.stack([file.clips[number] for file, number in batch]))
    for (file, number), outputs in zip(batch, run_batch(clips).float().cpu().numpy(), strict=True):
        file.outputs[number] = outputs
        file.left -= 1
        if not file.left:
            yield file


def _drop_pictures(folder: Path, done: int) -> None:
    """Delete the pictures of files that are not done: of a call that was killed, or of answers that are replaced."""
    for picture in folder.glob(PICTURE.format("[0-9][0-9]_*")):
        if int(picture.name.split("_")[2]) >= done:
            picture.unlink(missing_ok=True)


def _draw(prediction: Prediction, results: Results, run: RunHandle, number: int) -> None:
    name = re.sub(r"[^\w.-]+", "_", Path(prediction.audio).stem)[:LONGEST_STEM] or "audio"
    picture = results.folder / PICTURE.format(f"{number:02d}_{name}")
    middles = prediction.times + prediction.window / 2
    labels = [display_name(label) for label in results.labels]
    title = Path(prediction.audio).name
    unit = "value" if results.values else "probability"
    run.add_artifact(reports.tag_curves(middles, prediction.over_time, labels, picture, title=title, unit=unit))


def _leave(results: Results, skipped: Sequence[tuple[str, str]], todo: Sequence[Candidate], run: RunHandle) -> None:
    """Print what this call found, and leave the files with the run."""
    new = {storable(file.path) for file in todo}
    shown = 0
    for summary in results.summaries():
        if summary["audio"] in new and shown < SHOWN:
            shown += 1
            print(printable(summary["audio"]))
            for label, value in summary[results.key].items():
                name = printable(display_name(label))
                print(f"  {value:8.2f}  {name}" if results.values else f"  {value:6.1%}  {name}")
    files, reasons = results.finish(), results.folder / "skipped.csv"
    reasons.unlink(missing_ok=True)  # of an earlier call, whose run may keep it
    if skipped:
        with reasons.open("w", newline="", encoding="utf-8") as handle:
            TableWriter(handle).writerows([("audio", "reason"), *skipped])
        files.append(reasons)
    for file in files:
        run.add_artifact(file)
    more = len(new) - len(skipped) - shown
    say(f"{f'{more} more files, and ' if more > 0 else ''}all classes over time: {files[0]}, {files[2]}")
    say(f"a table of the answers: {files[1]}; pictures of the first {PICTURES}: {results.folder / PICTURE.format('*')}")
