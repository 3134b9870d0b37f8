"""Stored embeddings as vectors of tracks for Lightning: all in memory, shuffled anew every epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from datasets.samplers import EpochSampler, EvenShare
from datasets.store import Store
from datasets.vectors import TOKENS, Reduction, token_mean, token_reduction
from experiments.errors import UserError
from experiments.layer_folders import as_stored
from experiments.probes.records import folder_name, layer_name
from experiments.probes.representations import ALL, Representation, layer_of, layers_in, token_names
from experiments.probes.validation import songs
from experiments.probes.vectors import Split
from experiments.settings import DatamoduleSettings, TrainerSettings
from experiments.training.loading import TrainingLoader
from experiments.transfer.settings import StoredSettings


def stored(embeddings: StoredSettings) -> Representation:
    """The store that the settings name, and how a track of it becomes a vector: mean of its windows, then tokens.

    Raises:
        UserError: None was named, it is not there, or it is of another block or without tokens.
        StoreError: It holds something else.
    """
    if embeddings.store is None:
        raise UserError(
            "embeddings.store is not set: name a store of embeddings, which "
            "`python ex_pretrain.py extract_embeddings with ...` writes and names at its end; to train a network from "
            "audio, name it, model.network=NAME, or the weights to go on from, model.checkpoint=FILE"
        )
    path, block = as_stored(Path(embeddings.store).expanduser()), embeddings.block
    if not (path / "header.json").is_file():
        path = _of_block(path, block)
    store = Store(path, kind="embeddings")
    stored_block = layer_of(store)
    if block is not None and stored_block != block:
        taken = stored_block if isinstance(stored_block, int) else None
        raise UserError(
            f"embeddings.block={block}: the store {path} is of {layer_name(stored_block) or 'no block'}; take it as it "
            f"is: embeddings.block={taken}, or extract the other: "
            f"python ex_pretrain.py extract_embeddings with inference.transformer_block={block}"
        )
    reduction = _reduction(embeddings, store)
    tokens = {"+".join(TOKENS): ALL, "stored": ""}.get(reduction.name, reduction.name)
    name = embeddings.name or folder_name(str(path))
    return Representation(f"{name} (transfer)", (store,), reduction, stored_block, tokens, "mean")


def _of_block(folder: Path, block: int | None) -> Path:
    """The store of a block in a folder of those of several layers; of one alone where no block is named."""
    stores = layers_in(folder)
    if not stores:
        raise UserError(
            f"embeddings.store={folder}: no store of embeddings; "
            "`python ex_pretrain.py extract_embeddings with ...` writes one"
        )
    if block is None and len(stores) == 1:
        return next(iter(stores.values()))
    if block in stores:
        return stores[block]
    blocks = ", ".join(str(layer) for layer in stores if isinstance(layer, int))
    named = [str(path) for layer, path in stores.items() if isinstance(layer, str)]
    there = f"the blocks {blocks}" if blocks else "no blocks with numbers"
    by_folder = f", or give a layer by its folder: embeddings.store={named[-1]}" if named else ""
    if block is None:
        choose = f"choose one: embeddings.block=...{by_folder}" if blocks else by_folder.removeprefix(", or ")
        raise UserError(f"embeddings.store={folder}: it has {there}; {choose}")
    raise UserError(
        f"embeddings.block={block}: {folder} has {there}; extract it: "
        f"python ex_pretrain.py extract_embeddings with inference.transformer_block={block}{by_folder}"
    )


def _reduction(embeddings: StoredSettings, store: Store) -> Reduction:
    if token_names(store) == TOKENS:
        tokens = embeddings.tokens or ["cls"]
        return token_mean(tokens) if embeddings.reduce == "mean" else token_reduction(tokens)
    if embeddings.tokens or embeddings.reduce == "stack":
        raise UserError(
            f"{store.path} holds {list(store.header.item_shape)} values a window, not the tokens {', '.join(TOKENS)}: "
            "leave embeddings.tokens and embeddings.reduce out"
        )
    return token_reduction(())


class Vectors(Dataset[dict[str, Tensor]]):
    """Vectors of tracks; a whole batch is taken at once.

    Args:
        split: Vectors and targets; clips of a song are evaluated together.
        drawn: Indexed by the pairs of an `EpochSampler`; otherwise by numbers, which are in the items as `window`.
    """

    def __init__(self, split: Split, drawn: bool = False) -> None:
        self.x, self.y, self.drawn = torch.from_numpy(split.x), torch.from_numpy(np.array(split.y)), drawn
        self.track = torch.from_numpy(songs(split.groups or split.ids)[1])

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, indices: Sequence[Any]) -> dict[str, Tensor]:
        """A batch: `x`, `target`, `track`, and `window` where items are not drawn."""
        rows = torch.tensor([index[0] if self.drawn else index for index in indices])
        batch = {"x": self.x[rows], "target": self.y[rows], "track": self.track[rows]}
        return batch if self.drawn else batch | {"window": rows}


def _as_it_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch


class StoredVectors(L.LightningDataModule):
    """Loaders of the three splits.

    Args:
        settings: Batch sizes.
        splits: Train, valid and, where there is one, test.
        seed: Of the run; moves the order.
    """

    def __init__(self, settings: DatamoduleSettings, splits: Mapping[str, Split], seed: int) -> None:
        super().__init__()
        self.settings, self.splits, self.seed = settings, splits, seed

    def steps_per_epoch(self, trainer: TrainerSettings, processes: int = 1) -> int:
        """Optimiser steps of an epoch: batches of all processes side by side, so many of them gathered for a step."""
        batches = math.ceil(math.ceil(len(self.splits["train"].ids) / processes) / self.settings.batch_size_train)
        return math.ceil(min(batches, trainer.limit_train_batches or batches) / trainer.accumulate_grad_batches)

    def train_dataloader(self) -> DataLoader:
        """All tracks once, in another order every epoch."""
        tracks = len(self.splits["train"].ids)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        order = EpochSampler(np.ones(tracks), tracks, False, self.seed, rank, world)
        data = Vectors(self.splits["train"], drawn=True)
        return self._loader(data, order, self.settings.batch_size_train, TrainingLoader)

    def val_dataloader(self) -> DataLoader:
        """All tracks in order."""
        return self._in_order("valid")

    def test_dataloader(self) -> DataLoader:
        """All tracks in order."""
        return self._in_order("test")

    def _in_order(self, split: str) -> DataLoader:
        data = Vectors(self.splits[split])
        share = EvenShare(len(data), self.trainer.global_rank, self.trainer.world_size)
        return self._loader(data, share, self.settings.batch_size_test)

    def _loader(
        self, data: Vectors, sampler: Sampler, batch_size: int, kind: type[DataLoader] = DataLoader
    ) -> DataLoader:
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        return kind(data, batch_size=batch_size, sampler=sampler, pin_memory=on_gpu, collate_fn=_as_it_is)
