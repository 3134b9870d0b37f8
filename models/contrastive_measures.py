"""How good a contrastive representation is, told without labels.

Alignment and uniformity: Wang and Isola, "Understanding contrastive representation learning through alignment and
uniformity on the hypersphere", ICML 2020, with their usual exponents. Effective rank: Roy and Vetterli, EUSIPCO 2007,
as RankMe takes it (Garrido et al., "RankMe: assessing the downstream performance of pretrained self-supervised
representations by their rank", ICML 2023).

Everything is computed in the type of the vectors and in blocks, so that tens of thousands of tracks need little memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.losses.nt_xent import TEMPERATURE

BLOCK = 1 << 20  # cosines that are held at once
LEAST_RANK = 1.2  # effective rank of embeddings below which they have collapsed, of however few tracks
LEAST_UNIFORMITY = -1e-3  # above it, vectors lie within about a hundredth of the sphere's radius


def partner_search(
    first: Tensor, second: Tensor, temperature: float = TEMPERATURE, batch: int | None = None
) -> tuple[Tensor, Tensor]:
    """Let both views of every track find their partner, as in a batch of the training.

    The tracks are dealt into groups as large as a batch, the same every time; the last group is filled up with tracks
    of the first, which count once. Where there are fewer tracks than a batch has, every wrong view counts as many times
    as it takes to make up for those missing, so that the loss stays comparable; finding the partner is easier then.

    Args:
        first: Projections of one view of every track, `[tracks, dim]`.
        second: Of the other view, `[tracks, dim]`.
        temperature: Cosines are divided by it.
        batch: Tracks of a batch; None: all tracks.

    Returns:
        NT-Xent of every view, `[2, tracks]`, and how many wrong views are not farther from it than its partner,
        `[2, tracks]`.
    """
    tracks = len(first)
    batch = batch or tracks
    size = min(batch, tracks)
    more = math.log((batch - 1) / (size - 1)) if size > 1 else 0.0
    dealt = torch.from_numpy(np.random.default_rng(0).permutation(tracks))
    losses, nearer = first.new_empty(2, tracks), torch.empty(2, tracks, dtype=torch.long, device=first.device)
    for start in range(0, tracks, size):
        group = dealt[torch.arange(start, start + size) % tracks].to(first.device)
        counted = min(size, tracks - start)
        views = F.normalize(torch.cat([first[group], second[group]]), dim=-1)
        for rows in _blocks(2 * size, 2 * size):
            anchors = torch.arange(2 * size, device=first.device)[rows]
            cosines = views[rows] @ views.t()
            partner = (anchors + size) % (2 * size)
            towards = cosines.gather(1, partner[:, None])
            cosines.scatter_(1, anchors[:, None], -torch.inf)
            cosines.scatter_(1, partner[:, None], -torch.inf)
            known = anchors % size < counted
            place = anchors[known] // size, group[anchors[known] % size]
            apart = cosines.div(temperature).logsumexp(1) + more - towards[:, 0] / temperature
            losses[place] = F.softplus(apart)[known]
            nearer[place] = (~(cosines < towards)).sum(1)[known]
    return losses, nearer


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of the two views of a track on the unit sphere: 0 where they coincide, at most 4.

    Args:
        first: `[tracks, dim]`.
        second: `[tracks, dim]`.
    """
    return float((F.normalize(first, dim=-1) - F.normalize(second, dim=-1)).square().sum(1).mean())


def uniformity(x: Tensor) -> float:
    """Logarithm of the mean of `exp(-2 distance²)` over all pairs of tracks on the unit sphere.

    0 where all are one point; lower, the more evenly they cover the sphere: about -4 in many dimensions. NaN for fewer
    than two tracks.

    Args:
        x: `[tracks, dim]`.
    """
    x = F.normalize(x.detach(), dim=-1)
    squares, total = x.square().sum(1), 0.0
    for rows in _blocks(len(x), len(x)):
        distances = (squares[rows, None] + squares - 2 * (x[rows] @ x.t())).clamp_(min=0)
        distances[:, rows].fill_diagonal_(torch.inf)
        total += float(distances.mul_(-2).exp_().sum(dtype=torch.float64))
    pairs = len(x) * (len(x) - 1)
    return math.log(total / pairs) if pairs and total > 0 else math.nan


def effective_rank(x: Tensor) -> float:
    """How many directions vectors use: the exponential of the entropy of their singular values, made to sum to 1.

    1 where all lie on one line through zero, their number of dimensions where these are used alike, 0 where all are
    zero, NaN where some are not finite. The mean is not subtracted, as in RankMe.

    Args:
        x: `[tracks, dim]`.
    """
    if not torch.isfinite(x).all():
        return math.nan
    x = x.double()
    gram = x.t() @ x if len(x) >= x.shape[1] else x @ x.t()
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    if not values.any():
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())


def has_collapsed(rank: float, uniformity: float) -> bool:
    """Whether a network gives nearly the same for all tracks.

    Args:
        rank: Effective rank of embeddings.
        uniformity: Of projections.
    """
    return rank < LEAST_RANK or uniformity > LEAST_UNIFORMITY


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, BLOCK // columns)
    return (slice(start, start + step) for start in range(0, rows, step))
