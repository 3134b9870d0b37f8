"""Contrastive learning: two views of a recording are to be alike, and unlike those of others (SimCLR, ICML 2020; CLMR,
Spijkervet and Burgoyne, ISMIR 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from experiments.objectives.base import Batch, Evaluation, Kept, Objective
from experiments.objectives.gathering import elsewhere
from models.contrastive_measures import alignment, effective_rank, partner_search, uniformity
from models.losses.nt_xent import TEMPERATURE, nt_xent
from models.projection import Projection


class Contrastive(Objective):
    """NT-Xent of projections of a network's default layer, the mean of its tokens.

    The views go through the network one after the other, so that batch norm has statistics of each. Where several
    processes train, every view counts against those of all of them.

    A validation does what the training does: two crops of every track, augmented, searched for among as many others as
    in a batch. Crops and augmentations are the same every time, so that `val/loss` is comparable from one epoch to the
    next, and with `train/loss`. Crops as they are would be told apart by recording level and noise alone, and nearly
    all would be found early on. Logged besides are `top1` and `top5`, the shares of views whose partner is the nearest
    or among the five nearest; `alignment` and `uniformity` of normalised projections, on which the loss acts; and
    `rank`, the effective rank of the embeddings, which are what is used afterwards (see `models.contrastive_measures`).

    Args:
        dim: Values of an embedding.
        hidden: Of the projection head's hidden layer; None: as many.
        size: Of a projection.
        temperature: Of the loss.
        crops: Of a track: two views, or one that is both, masked in two ways.
        masked: Share of its patches that a view leaves out (Yonay et al., "Myna", arXiv 2502.12511); 0: none.
        batch: Tracks of a training batch, over all processes; None: a validation searches among all of its tracks.
    """

    needs_labels, whole_batches, joint_batch_norm, validated_augmented = False, True, True, True
    shown = ("top1",)
    panels: Mapping[str, Sequence[str]] = MappingProxyType(
        {
            "finding the partner": ("top1", "top5"),
            "alignment and uniformity": ("alignment", "uniformity"),
            "effective rank": ("rank",),
        }
    )

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        size: int = 64,
        temperature: float = TEMPERATURE,
        crops: int = 2,
        masked: float = 0.0,
        batch: int | None = None,
    ) -> None:
        super().__init__()
        self.project, self.temperature = Projection(dim, hidden, size), temperature
        self.views, self.masked, self.batch = crops, masked, batch

    def embedded(self, network: nn.Module, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The embeddings of one view, `[batch, dim]`; a generator draws what is masked."""
        layer = network.default_layer
        if self.masked:
            return network.embed_masked(x, [layer], self.masked, generator)[layer].mean(1)
        return network.embed(x, [layer])[layer].mean(1)

    def embeddings(self, network: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> list[Tensor]:
        """Those of both views, `[batch, dim]` each."""
        views = batch["x"].unbind(1) if self.views > 1 else [batch["x"]] * 2
        return [self.embedded(network, view, generator) for view in views]

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """NT-Xent of the two views."""
        first, second = (self.project(view) for view in self.embeddings(network, batch))
        return {"loss": nt_xent(first, second, self.temperature, elsewhere(torch.cat([first, second])))}

    def keep(self, network: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Projections of both views, `[batch, 2, size]`, and embeddings of the first, `[batch, dim]`.

        Masks of a batch are the same every time.
        """
        generator = torch.Generator().manual_seed(int(batch["window"][0])) if self.masked else None
        embedded = self.embeddings(network, batch, generator)
        projected = torch.stack([self.project(view) for view in embedded], 1)
        return {"projected": projected.float().cpu().numpy(), "embedded": embedded[0].float().cpu().numpy()}

    def evaluate(self, kept: Kept, reference: Callable[[int], np.ndarray]) -> Evaluation:
        """NT-Xent and how well partners are found, in groups as large as a batch; measures of all tracks together."""
        first, second = torch.from_numpy(kept["projected"]).unbind(1)
        losses, nearer = partner_search(first, second, self.temperature, self.batch)
        scores = {
            "loss": float(losses.mean()),
            **{f"top{most}": float((nearer < most).float().mean()) for most in (1, 5)},
            "alignment": alignment(first, second),
            "uniformity": (uniformity(first) + uniformity(second)) / 2,
            "rank": effective_rank(torch.from_numpy(kept["embedded"])),
        }
        return Evaluation(scores, kept["track"])
