"""NT-Xent: each view has to find the other view of its example among all others (Chen et al., "A simple framework for
contrastive learning of visual representations", ICML 2020, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.5


def nt_xent(first: Tensor, second: Tensor, temperature: float = TEMPERATURE, others: Tensor | None = None) -> Tensor:
    """The normalised temperature-scaled cross-entropy of a batch.

    One product of matrices gives all cosines, so that memory grows with the square of the batch only by them.

    Args:
        first: Projections of one view of every example, `[batch, dim]`.
        second: Of the other view, `[batch, dim]`.
        temperature: Cosines are divided by it.
        others: Both views of further examples, `[further, dim]`, against which these count too.

    Returns:
        A scalar, computed in float32: the mean over both views. 0 where there is one example and no other.
    """
    batch = len(first)
    own = F.normalize(torch.cat([first, second]).float(), dim=-1)
    known = own if others is None else torch.cat([own, F.normalize(others.float(), dim=-1)])
    cosines = own @ known.t() / temperature
    cosines = cosines.masked_fill(torch.eye(*cosines.shape, dtype=torch.bool, device=own.device), -torch.inf)
    return F.cross_entropy(cosines, torch.arange(2 * batch, device=own.device).roll(batch))
