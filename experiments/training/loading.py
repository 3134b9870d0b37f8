"""Batches of clips for Lightning: balanced random crops to train on, fixed windows to judge by."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from datasets.clips import RandomCrops, Windows
from datasets.samplers import EpochSampler, balanced_weights
from datasets.targets import ClipTargets
from datasets.teachers import Teacher
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings, TrainerSettings
from experiments.tracks.examples import Examples
from experiments.training.interruption import leave_signals_to_parent

GPU_WORKERS = 4


class EvenShare(Sampler[int]):
    """One rank's share of a list, padded by the list's own start so that all ranks get equally many."""

    def __init__(self, size: int, rank: int, world_size: int) -> None:
        self.share = np.resize(np.arange(size), -(-size // world_size) * world_size)[rank::world_size]

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share.tolist())


class TrainingLoader(DataLoader):
    """A loader over an `EpochSampler` that goes on in the middle of an epoch.

    Lightning stores its state in checkpoints and hands it back before the first batch. Workers are started with the
    first batch, when the epoch is known.
    """

    _given = 0
    _resumed: Mapping[str, int] | None = None

    def __iter__(self) -> Iterator[Any]:
        state, self._resumed = self._resumed, None
        self._given = state["batches"] if state and state["epoch"] == self.sampler.epoch else 0
        if self._given and state != {**state, **self._layout()}:
            raise UserError(
                f"the checkpoint is from the middle of an epoch with {_spoken(state)}, "
                f"this is {_spoken(self._layout())}: go on with the same numbers, or begin anew"
            )
        self.sampler.skip(self._given * self.batch_size)
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def _layout(self) -> dict[str, int]:
        return {"batch_size": self.batch_size, "processes": self.sampler.world_size}

    def state_dict(self) -> dict[str, int]:
        """Which epoch this is and how many of its batches were handed out."""
        return {"epoch": self.sampler.epoch, "batches": self._given, **self._layout()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on behind those batches, if the next epoch is that one."""
        self._resumed = dict(state)


def _spoken(layout: Mapping[str, int]) -> str:
    return f"batches of {layout['batch_size']} on {layout['processes']} processes"


class Clips(L.LightningDataModule):
    """Loaders of the three splits, made once the trainer knows its rank.

    Args:
        settings: Batch sizes, workers, sampling.
        features: Reader of stored log-mels.
        splits: Tracks and targets of train, valid and test.
        frames: Length of a clip.
        seed: Of the run; moves the draws.
        teacher: Its targets go with the crops for training and validation.
    """

    def __init__(
        self,
        settings: DatamoduleSettings,
        features: Any,
        splits: Mapping[str, Examples],
        frames: int,
        seed: int,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.features, self.splits, self.frames, self.seed = settings, features, splits, frames, seed
        self.teacher = teacher

    def steps_per_epoch(self, trainer: TrainerSettings, processes: int = 1) -> int:
        """Optimiser steps of an epoch: batches of all processes side by side, so many of them gathered for a step."""
        draws = self.settings.sampler.epoch_len
        if not self.settings.sampler.sampler_replace:
            draws = min(draws, len(self.splits["train"]))
        batches = math.ceil(math.ceil(draws / processes) / self.settings.batch_size_train)
        return math.ceil(min(batches, trainer.limit_train_batches or batches) / trainer.accumulate_grad_batches)

    @cached_property
    def weights(self) -> np.ndarray:
        """Sampling weights of the training tracks, `[tracks]`: alike where they have values."""
        train, sampler = self.splits["train"], self.settings.sampler
        if train.kind == "values":
            return np.ones(len(train))
        classes = train.targets
        if classes.ndim == 1:
            classes = classes[:, None].round() == np.unique(classes.round())
        return balanced_weights(classes, sampler.sample_weight_offset, sampler.sample_weight_sum)

    def train_dataloader(self) -> DataLoader:
        """Random crops; tracks with rare classes are drawn more often."""
        train, sampler = self.splits["train"], self.settings.sampler
        draws = EpochSampler(
            self.weights,
            sampler.epoch_len,
            sampler.sampler_replace,
            self.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        extra = {"teacher": self.teacher.of(train.stored)} if self.teacher else {}
        crops = RandomCrops(self.features, train.stored, ClipTargets(train.targets), self.frames, extra)
        return self._loader(crops, draws, self.settings.batch_size_train, TrainingLoader)

    def val_dataloader(self) -> DataLoader:
        """The clip at the centre of every track: the same ones every time."""
        return self._windows("valid", hop=None, teacher=self.teacher)

    def test_dataloader(self) -> DataLoader:
        """Every track from its start to its end, clip after clip."""
        return self._windows("test", hop=self.frames)

    def _windows(self, split: str, hop: int | None, teacher: Teacher | None = None) -> DataLoader:
        examples = self.splits[split]
        extra = {"teacher": teacher.of(examples.stored)} if teacher else {}
        windows = Windows(self.features, examples.stored, ClipTargets(examples.targets), self.frames, hop, extra)
        share = EvenShare(len(windows), self.trainer.global_rank, self.trainer.world_size)
        return self._loader(windows, share, self.settings.batch_size_test)

    def _loader(
        self, dataset: Dataset, sampler: Sampler, batch_size: int, kind: type[DataLoader] = DataLoader
    ) -> DataLoader:
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        workers = self.settings.num_workers
        if workers is None:  # beside a CPU a crop costs less than handing it from process to process
            workers = min(GPU_WORKERS, os.cpu_count() or 1) if on_gpu else 0
        return kind(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            pin_memory=on_gpu,
            persistent_workers=workers > 0,
            worker_init_fn=leave_signals_to_parent,
        )
