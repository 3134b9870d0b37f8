"""Audio files in, ranked classes out: for the whole track, and over time."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.clips import window_starts
from datasets.windows import pad_centred
from experiments import networks, reports
from experiments.data import FRONTEND, say
from experiments.errors import UserError
from experiments.inference import runner, window_frames
from experiments.progress import progress
from experiments.settings import PretrainSettings
from experiments.tracking.run import RunHandle
from experiments.training import check_accelerator
from models.frontends import MusiCNNMel
from models.frontends import build as build_frontend
from preprocess.decode import load
from preprocess.files import find
from preprocess.quiet import quiet_libraries
from preprocess.sources import AudioError

PICTURES = 10  # files of one call that get a picture


@dataclass(frozen=True)
class Prediction:
    """Probabilities of one file.

    Attributes:
        audio: The file.
        times: Start of every window, seconds.
        window: Length of a window, seconds.
        over_time: `[windows, classes]`.
    """

    audio: Path
    times: np.ndarray
    window: float
    over_time: np.ndarray

    def ranked(self, labels: Sequence[str], top: int) -> list[tuple[str, float]]:
        """The classes of the largest mean over the windows, the most probable first."""
        whole = self.over_time.mean(axis=0)
        return [(labels[number], float(whole[number])) for number in np.argsort(-whole, kind="stable")[:top]]


def predict(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Rank the classes of a file, or of every audio file in a folder; what cannot be read is named and left out.

    Leaves `predictions.json` (ranked, and over time), `predictions.csv` (a row a window) and pictures with the run.

    Raises:
        UserError: No audio was named, it does not exist, or none of it could be read.
    """
    check_accelerator(settings.trainer)
    if settings.inference.random_weights:
        raise UserError("inference.random_weights: an untrained network has no classes; give inference.checkpoint")
    files = audio_named(settings.inference.audio)
    frontend = build_frontend(FRONTEND)
    found = networks.load(settings, frontend)
    frames = window_frames(settings, found)
    hop = frames // 2 if settings.inference.half_overlapped_inference else frames
    run_batch, task = runner(found, settings, networks.classify), found.task()
    document: list[dict[str, Any]] = []
    skipped: list[AudioError] = []
    with _table(run, task.classes) as enter, progress("predicting", len(files), "files") as advance:
        for file in files:
            try:
                times, clips = cut(file, frontend, frames, hop)
            except AudioError as error:
                skipped.append(error)
                say(f"skipped: {error}")
            else:
                logits = _in_batches(run_batch, clips, settings.inference.batch_size)
                prediction = Prediction(file, times, frames / frontend.frame_rate, task.decode(logits))
                enter(prediction)
                if len(document) < PICTURES:
                    _draw(prediction, task.classes, run, len(document))
                document.append(_summary(prediction, task.classes, settings.inference.top))
            advance()
        if not document:
            raise UserError(f"none of {len(files)} files could be read; the first: {skipped[0]}")
    _leave(document, run)
    return {"predicted": len(document), "skipped": len(skipped)}


def audio_named(audio: str | None) -> list[Path]:
    """The file, or the audio files of the folder, that `inference.audio` names.

    Raises:
        UserError: It names nothing, or nothing that exists, or a folder without audio.
    """
    if audio is None:
        raise UserError("inference.audio is not set: name an audio file or a folder, inference.audio=song.mp3")
    path = Path(audio).expanduser()
    if path.is_dir():
        return [path / candidate.id for candidate in find(path)[0]]
    if not path.exists():
        raise UserError(f"inference.audio={audio}: no such file or folder")
    return [path]


def cut(file: Path, frontend: MusiCNNMel, frames: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode a file into windows of log-mel.

    Returns:
        Start of every window in seconds, and `[windows, frames, bands]`.

    Raises:
        AudioError: The file cannot be decoded.
    """
    with quiet_libraries():
        samples = torch.from_numpy(load(file, frontend.sample_rate))
    if len(samples) < frontend.min_samples:
        raise AudioError(file, "too short")
    mel = frontend(samples).numpy()
    starts = np.array(window_starts(len(mel), frames, hop))
    clips = [mel[start : start + frames] for start in starts]
    padded = [clip if len(clip) == frames else pad_centred(clip, frames) for clip in clips]
    return starts * frontend.hop / frontend.sample_rate, np.stack(padded)


def _in_batches(run_batch: Callable[[Tensor], Any], clips: np.ndarray, batch_size: int) -> np.ndarray:
    parts = [clips[start : start + batch_size] for start in range(0, len(clips), batch_size)]
    return np.concatenate([run_batch(torch.from_numpy(part)).float().cpu().numpy() for part in parts])


@contextmanager
def _table(run: RunHandle, labels: Sequence[str]) -> Iterator[Callable[[Prediction], None]]:
    """Give a function that adds a file's windows to `predictions.csv`, which has its name once it is whole."""
    table = run.directory / "predictions.csv"
    aside = table.with_name("predictions.csv.part")
    with aside.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["audio", "seconds", *labels])

        def enter(prediction: Prediction) -> None:
            for time, row in zip(prediction.times, prediction.over_time, strict=True):
                writer.writerow([prediction.audio, f"{time:.3f}", *(f"{value:.5f}" for value in row)])

        yield enter
    os.replace(aside, table)
    run.add_artifact(table)


def _draw(prediction: Prediction, labels: Sequence[str], run: RunHandle, number: int) -> None:
    picture = run.directory / f"over_time_{number:02d}.png"
    middles = prediction.times + prediction.window / 2
    run.add_artifact(reports.tag_curves(middles, prediction.over_time, labels, picture, title=prediction.audio.name))


def _summary(prediction: Prediction, labels: Sequence[str], top: int) -> dict[str, Any]:
    """What `predictions.json` says of a file: its classes by rank, and these over time."""
    ranked = prediction.ranked(labels, top)
    columns = [(label, labels.index(label)) for label, _ in ranked]
    over_time = [
        {"seconds": round(float(time), 3), **{label: round(float(row[column]), 5) for label, column in columns}}
        for time, row in zip(prediction.times, prediction.over_time, strict=True)
    ]
    return {"audio": str(prediction.audio), "ranked": dict(ranked), "over_time": over_time}


def _leave(document: list[dict[str, Any]], run: RunHandle) -> None:
    for summary in document:
        print(summary["audio"])
        for label, probability in summary["ranked"].items():
            print(f"  {probability:6.1%}  {label}")
    as_json = run.directory / "predictions.json"
    aside = as_json.with_name("predictions.json.part")
    aside.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(aside, as_json)
    run.add_artifact(as_json)
    say(f"all classes, over time: {as_json} and {as_json.with_suffix('.csv')}")
