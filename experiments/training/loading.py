"""Batches of windows for Lightning: balanced random crops to train on, fixed windows for validation and tests."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from datasets.clips import FixedCrops, RandomCrops, Windows
from datasets.corpus import Corpus
from datasets.examples import Examples
from datasets.loading_processes import leave_signals_to_parent
from datasets.samplers import EpochSampler, EvenShare, balanced_weights, time_weights
from datasets.teachers import Teacher
from datasets.windows import Plan
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings, TrainerSettings
from experiments.training.preloading import Preloaded, fits
from experiments.training.tempo_balance import TempoBalance, tempo_balance
from experiments.windowing import Windowing

GPU_WORKERS = 4


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
                f"the checkpoint is from the middle of an epoch with {_described(state)}, "
                f"this is {_described(self._layout())}: go on with the same numbers, or begin anew"
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
        self._resumed = dict(state)


def _described(layout: Mapping[str, int]) -> str:
    return f"batches of {layout['batch_size']} on {layout['processes']} processes"


class SplitLoaders(L.LightningDataModule):
    """Loaders of the three splits, made once the trainer knows its rank.

    Args:
        settings: Batch sizes, workers, sampling.
        features: Reader of stored features or audio.
        splits: Tracks of train, valid and test, with targets where there are labels.
        windowing: How tracks are cut.
        seed: Of the run; moves the draws.
        teacher: Its targets go with windows for training and validation.
        views: Random crops of a track that an example consists of; several are validated and tested as they are
            trained on, the same crops every time.
        whole: Validate on the windows of a test, not on those of a training (`Windowing.validation`).
        speeds: Bounds between which crops are played faster or slower in training.
        corpus: The annotations of all tracks, for what an evaluation reports besides its scores; None: not known.
        audio_dir: Folder of their audio, or of the store.
        whole_batches: Leave out the last batch of an epoch where it is smaller than the others.
    """

    def __init__(
        self,
        settings: DatamoduleSettings,
        features: Any,
        splits: Mapping[str, Examples],
        windowing: Windowing,
        seed: int,
        teacher: Teacher | None = None,
        views: int = 1,
        whole: bool = False,
        speeds: tuple[float, float] | None = None,
        corpus: Corpus | None = None,
        audio_dir: Path | None = None,
        whole_batches: bool = False,
    ) -> None:
        super().__init__()
        self.settings, self.features, self.splits = settings, features, splits
        self.windowing, self.seed, self.teacher, self.views, self.whole = windowing, seed, teacher, views, whole
        self.speeds, self.corpus, self.audio_dir, self.whole_batches = speeds, corpus, audio_dir, whole_batches
        self.preloaded: Preloaded | None = None

    def steps_per_epoch(self, trainer: TrainerSettings, processes: int = 1) -> int:
        """Optimiser steps of an epoch: batches of all processes side by side, so many of them gathered for a step."""
        rounded = math.floor if self.whole_batches else math.ceil
        batches = rounded(math.ceil(self._draws / processes) / self.settings.batch_size_train)
        return math.ceil(min(batches, trainer.limit_train_batches or batches) / trainer.accumulate_grad_batches)

    @property
    def _draws(self) -> int:
        """Of an epoch, over all processes."""
        sampler = self.settings.sampler
        return sampler.epoch_len if sampler.sampler_replace else min(sampler.epoch_len, len(self.splits["train"]))

    @cached_property
    def tempi(self) -> TempoBalance | None:
        """How tracks of the training are drawn by their tempo; None where they are drawn otherwise."""
        return tempo_balance(self.splits["train"], self.settings.sampler.balance, self.speeds)

    @cached_property
    def weights(self) -> np.ndarray:
        """Sampling weights of the training tracks, `[tracks]`: alike where they have values or no labels.

        Tracks with events weigh as much as they are long: with `sampler.sampler_replace` all of the time of a corpus is
        drawn alike; without, every track is drawn once anyway.
        """
        train, sampler = self.splits["train"], self.settings.sampler
        if self.tempi is not None:
            return self.tempi.weights
        if train.kind == "events":
            rows = [self.features.length(identity) for identity in train.stored]
            return time_weights(rows, train.corpora, sampler.corpus_temperature)
        if sampler.balance == "tracks" or train.kind == "values" or not train.clip_level:
            return np.ones(len(train))
        return balanced_weights(train.targets, sampler.sample_weight_offset, sampler.sample_weight_sum)

    def train_dataloader(self) -> DataLoader:
        """Random crops; tracks with rare classes are drawn more often."""
        sampler = self.settings.sampler
        draws = EpochSampler(
            self.weights,
            self._draws,
            sampler.sampler_replace or self.tempi is not None,
            self.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        crops = self._crops("train")
        device, ids = self.trainer.strategy.root_device, self.splits["train"].stored
        if fits(self.settings.preload, self.features, ids, device):
            crops.places_only, self.preloaded = True, Preloaded(self.features, ids, crops.read, device)
        return self._loader(crops, draws, self.settings.batch_size_train, TrainingLoader, self.whole_batches)

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Cut the crops of preloaded tracks; what else there is of a batch follows to the device."""
        if "x" in batch:
            return batch
        return {"x": self.preloaded.crops(batch["track"], batch["start"]), **batch}

    def val_dataloader(self) -> DataLoader:
        """The same windows of every track every time."""
        return self._windows("valid", self.windowing.plan if self.whole else self.windowing.validation)

    def test_dataloader(self) -> DataLoader:
        """Every track from its start to its end, window after window."""
        return self._windows("test", self.windowing.plan)

    def _cut(self, split: str) -> dict[str, Any]:
        examples = self.splits[split]
        teacher = self.teacher if split != "test" else None
        return {
            "features": self.features,
            "ids": examples.stored,
            "targets": examples.crops,
            "hop": self.windowing.step,
            "frames": self.windowing.frames,
            "extra": {"teacher": teacher.of(examples.stored)} if teacher else None,
        }

    def _crops(self, split: str) -> RandomCrops:
        where = {"length": self.windowing.rows, "behind": self.windowing.behind, "views": self.views}
        given = self._cut(split)
        if split == "train" and self.tempi is not None:
            given["targets"] = self.tempi.targets
        return RandomCrops(**given, **where, speeds=self.speeds if split == "train" else None)

    def _windows(self, split: str, plan: Plan) -> DataLoader:
        windows: Dataset = Windows(**self._cut(split), plan=plan) if self.views == 1 else FixedCrops(self._crops(split))
        share = EvenShare(len(windows), self.trainer.global_rank, self.trainer.world_size)
        return self._loader(windows, share, self.settings.batch_size_test)

    def _loader(
        self,
        dataset: Dataset,
        sampler: Sampler,
        batch_size: int,
        kind: type[DataLoader] = DataLoader,
        drop_last: bool = False,
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
            drop_last=drop_last,
            persistent_workers=workers > 0,
            worker_init_fn=leave_signals_to_parent,
        )
