"""Contrastive learning: two views of a recording are to be alike, and unlike those of others (SimCLR, ICML 2020; CLMR,
Spijkervet and Burgoyne, ISMIR 2021)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from experiments import distributed
from experiments.objectives.base import Batch, Evaluation, Kept, Objective
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
    """

    needs_labels, views, whole_batches = False, 2, True

    def __init__(self, dim: int, hidden: int | None = None, size: int = 64, temperature: float = TEMPERATURE) -> None:
        super().__init__()
        self.project, self.temperature = Projection(dim, hidden, size), temperature

    def embedded(self, network: nn.Module, x: Tensor) -> Tensor:
        """The embeddings of one view, `[batch, dim]`."""
        layer = network.default_layer
        return network.embed(x, [layer])[layer].mean(1)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """NT-Xent of the two views."""
        first, second = (self.project(self.embedded(network, view)) for view in batch["x"].unbind(1))
        return {"loss": nt_xent(first, second, self.temperature, elsewhere(torch.cat([first, second])))}

    def keep(self, network: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Projections of both views, `[batch, 2, size]`."""
        projected = [self.project(self.embedded(network, view)) for view in batch["x"].unbind(1)]
        return {"projected": torch.stack(projected, 1).float().cpu().numpy()}

    def evaluate(self, kept: Kept, reference: Callable[[int], np.ndarray]) -> Evaluation:
        """NT-Xent over all tracks of the split."""
        first, second = torch.from_numpy(kept["projected"]).unbind(1)
        return Evaluation({"loss": float(nt_xent(first, second, self.temperature))}, kept["track"])


def elsewhere(own: Tensor) -> Tensor | None:
    """The projections of all other processes, with gradients; None where there are none.

    Gradients of what others compute with them come back, so that N processes learn what one does of the joined batch.
    """
    if distributed.world_size() == 1:
        return None
    from torch.distributed.nn.functional import all_gather

    parts = all_gather(own)
    return torch.cat([part for rank, part in enumerate(parts) if rank != distributed.rank()])
