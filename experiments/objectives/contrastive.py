"""Contrastive learning: two views of a recording are to be alike, and unlike those of others (SimCLR, ICML 2020; CLMR,
Spijkervet and Burgoyne, ISMIR 2021)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from experiments.objectives.base import Batch, Evaluation, Kept, Objective
from experiments.objectives.gathering import elsewhere
from models.losses.nt_xent import TEMPERATURE, nt_xent
from models.projection import Projection


class Contrastive(Objective):
    """NT-Xent of projections of a network's default layer, the mean of its tokens.

    The views go through the network one after the other, so that batch norm has statistics of each. Where several
    processes train, every view counts against those of all of them.

    Args:
        dim: Values of an embedding.
        hidden: Of the projection head's hidden layer; None: as many.
        size: Of a projection.
        temperature: Of the loss.
        crops: Of a track: two views, or one that is both, masked in two ways.
        masked: Share of its patches that a view leaves out (Yonay et al., "Myna", arXiv 2502.12511); 0: none.
    """

    needs_labels, whole_batches, joint_batch_norm = False, True, True

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        size: int = 64,
        temperature: float = TEMPERATURE,
        crops: int = 2,
        masked: float = 0.0,
    ) -> None:
        super().__init__()
        self.project, self.temperature = Projection(dim, hidden, size), temperature
        self.views, self.masked = crops, masked

    def embedded(self, network: nn.Module, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The embeddings of one view, `[batch, dim]`; a generator draws what is masked."""
        layer = network.default_layer
        if self.masked:
            return network.embed_masked(x, [layer], self.masked, generator)[layer].mean(1)
        return network.embed(x, [layer])[layer].mean(1)

    def projections(self, network: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> list[Tensor]:
        """Those of both views, `[batch, size]` each."""
        views = batch["x"].unbind(1) if self.views > 1 else [batch["x"]] * 2
        return [self.project(self.embedded(network, view, generator)) for view in views]

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """NT-Xent of the two views."""
        first, second = self.projections(network, batch)
        return {"loss": nt_xent(first, second, self.temperature, elsewhere(torch.cat([first, second])))}

    def keep(self, network: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Projections of both views, `[batch, 2, size]`; masks of a batch are the same every time."""
        generator = torch.Generator().manual_seed(int(batch["window"][0])) if self.masked else None
        projected = self.projections(network, batch, generator)
        return {"projected": torch.stack(projected, 1).float().cpu().numpy()}

    def evaluate(self, kept: Kept, reference: Callable[[int], np.ndarray]) -> Evaluation:
        """NT-Xent over all tracks of the split."""
        first, second = torch.from_numpy(kept["projected"]).unbind(1)
        return Evaluation({"loss": float(nt_xent(first, second, self.temperature))}, kept["track"])
