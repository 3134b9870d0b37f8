"""A request from its file to its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fastapi import Request

from datasets.windows import cut
from experiments.errors import UserError
from experiments.inference.predictor import RunBatch
from experiments.inference.refusals import notes_on, refused
from experiments.service.answers import Answer, answer_of
from experiments.service.batching import Batches
from experiments.service.decoding import Decoders
from experiments.service.metrics import Counts
from experiments.service.models import ServedModel
from experiments.service.problems import ServiceError
from experiments.service.uploads import received
from experiments.settings import ServiceSettings
from models.open_track import OpenTrack
from models.selection import Selection, same_for_all
from preprocess.tracks import DecodedTrack

Result = TypeVar("Result")
AHEAD = 4  # files that are decoded and wait for a network, besides those that are being decoded


@dataclass(frozen=True)
class Options:
    """What a request says of its answer.

    Attributes:
        top: Classes in the ranking; so many tags are selected. None: 10 in the ranking, tags by their thresholds.
        threshold: From which probability on a tag is selected.
        over_time: Whether windows are wanted too.
    """

    top: int | None = None
    threshold: float | None = None
    over_time: bool = False

    def check(self) -> None:
        """Make sure that they do not contradict each other.

        Raises:
            ServiceError: They do.
        """
        if self.top is not None and self.threshold is not None:
            raise ServiceError(422, "top and threshold: each says which tags are selected; give one of them")

    def selection(self, model: ServedModel) -> Selection | None:
        """Which classes are selected."""
        if model.predictor is None or model.predictor.task.kind != "tags":
            return model.selection
        n = len(model.predictor.task.classes)
        if self.threshold is not None:
            return same_for_all(self.threshold, n, f"threshold={self.threshold:g}")
        if self.top is not None:
            return Selection(f"top={self.top}", n=min(self.top, n))
        return model.selection


@dataclass(frozen=True)
class Service:
    """What answers requests.

    Attributes:
        models: By name.
        decoders: Of files.
        batches: Of windows.
        counts: Of requests and audio.
        folder: Private; uploads lie there while they are read.
        settings: Limits.
    """

    models: dict[str, ServedModel]
    decoders: Decoders
    batches: Batches
    counts: Counts
    folder: Path
    settings: ServiceSettings

    @contextlib.asynccontextmanager
    async def file(self, request: Request) -> AsyncIterator[Path]:
        """The file of a request while it is worked on, with as many others as the memory for what is decoded allows."""
        async with received(request, self.folder, round(self.settings.max_mb * 1e6)) as path, self._decoded_at_once:
            yield path

    @cached_property
    def _decoded_at_once(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.settings.decoder_processes + AHEAD)

    async def decoded(self, path: Path, models: Sequence[ServedModel]) -> dict[str, DecodedTrack | str]:
        """The rows of a file for some models, or the reason why there are none, by `ServedModel.decoding`.

        Models that see the same are given the same rows.
        """
        kinds = {model.decoding: model for model in models}
        with self.batches.coming():
            outcomes = await together(self.decoders.decode(path, model.decode) for model in kinds.values())
        self.counts.audio.inc(max((one.seconds for one in outcomes if not isinstance(one, str)), default=0.0))
        return dict(zip(kinds, outcomes, strict=True))

    async def predict(self, model: ServedModel, outcome: DecodedTrack | str, options: Options) -> Answer:
        """What a model says of a file.

        Args:
            model: One that predicts.
            outcome: Of `decoded`.
            options: Of the request.

        Raises:
            ServiceError: The file cannot be predicted; says why.
        """
        predictor = model.predictor
        if reason := refused(predictor.task, outcome):
            raise ServiceError(422, reason)
        try:
            track = await asyncio.to_thread(predictor.opened, "", outcome.frames)
            await self._run(track, predictor.run_batch)
            return await asyncio.to_thread(_answer, model, track, outcome, options)
        except UserError as error:
            raise ServiceError(422, str(error)) from None

    async def embed(
        self, model: ServedModel, outcome: DecodedTrack | str, layers: Sequence[str]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Tokens of a file as a store would have them: starts of its windows in seconds, and `[windows, tokens, dim]`
        by layer.

        Raises:
            ServiceError: The file cannot be read.
        """
        if isinstance(outcome, str):
            raise ServiceError(422, outcome)
        encoder, chosen = model.encoder, tuple(layers)
        windowing = encoder.windowing_of(stored=True)
        cuts = await asyncio.to_thread(cut, outcome.frames, windowing.plan, encoder.fill(), None)
        track = OpenTrack("", *cuts, len(outcome.frames))
        await self._run(track, model.embedding(chosen))
        tokens = await asyncio.to_thread(_stacked, track)
        return track.starts / windowing.rate, dict(zip(chosen, tokens, strict=True))

    async def _run(self, track: OpenTrack, run_batch: RunBatch) -> None:
        track.outputs = await self.batches.run(run_batch, track.windows)
        if not await asyncio.to_thread(_is_finite, track):
            raise ServiceError(422, "the network gave values that are not finite for this file")
        track.windows = []


async def together(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of calls that run at the same time, in their order.

    Where one fails, its error is raised, after the others were cancelled and have ended: none goes on with a file that
    is deleted meanwhile.
    """
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


def _answer(model: ServedModel, track: OpenTrack, outcome: DecodedTrack, options: Options) -> Answer:
    """The answer of a model, from the outputs of its network."""
    prediction, notes = model.predictor.prediction(track), notes_on(model.predictor.task, outcome)
    selection, top = options.selection(model), options.top or 10
    return answer_of(model, prediction, outcome.seconds, notes, selection, top, options.over_time)


def _is_finite(track: OpenTrack) -> bool:
    return all(np.isfinite(array).all() for outputs in track.outputs for array in outputs)


def _stacked(track: OpenTrack) -> list[np.ndarray]:
    return [np.stack(values) for values in zip(*track.outputs, strict=True)]
