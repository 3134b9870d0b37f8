"""Losses of curves of beats over time.

The shift-tolerant loss is that of Foscarin, Schlüter and Widmer ("Beat this! Accurate beat tracking without DBN
postprocessing", ISMIR 2024, section 3.3). Annotations are a few hundredths of a second off here and there: the network
may put its peak anywhere within a tolerance of the annotated step, and pays for peaks further away.

Unlike in the published code, what is masked counts neither in the sum nor in the number of terms, so that padding and
tracks without downbeats do not make the loss of a batch smaller.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def shift_tolerant(
    logits: Tensor, targets: Tensor, mask: Tensor | None, weights: Tensor | float = 1.0, tolerance: int = 0
) -> Tensor:
    """Weighted binary cross-entropy that tolerates shifts; with none, the ordinary one.

    Args:
        logits: `[batch, steps, curves]`.
        targets: Likewise, 0 to 1.
        mask: Likewise, 1 where the target is known; None: everywhere.
        weights: Of positives, `[curves]`.
        tolerance: Steps. The first and the last `2 * tolerance` of a crop, and of what a mask leaves of it, do not
            count, as what lies beyond them is not known.

    Returns:
        The mean over what counts, of each curve apart, summed over the curves; float32.
    """
    logits, targets = logits.float(), targets.float()
    peaks, near = _largest(logits, tolerance), _largest(targets, 2 * tolerance)
    terms = weights * targets * F.softplus(-peaks) + (1 - near) * F.softplus(peaks)
    return masked_mean(terms, _known(logits, mask, 2 * tolerance))


def class_entropy(logits: Tensor, targets: Tensor, mask: Tensor | None, weights: Tensor) -> Tensor:
    """Cross-entropy of three classes: a beat that is no downbeat, a downbeat, neither.

    Where nothing is known of downbeats, the two kinds of beats are one class.

    Args:
        logits: `[batch, steps, 3]`.
        targets: Any beat and downbeats, `[batch, steps, 2]`, 0 to 1.
        mask: Likewise, 1 where the target is known; None: everywhere.
        weights: Of beats and of downbeats, `[2]`.

    Returns:
        The mean over the steps whose first target is known; float32.
    """
    logarithms, targets = logits.float().log_softmax(-1), targets.float()
    known = torch.ones_like(targets) if mask is None else mask.float()
    any_beat, downbeat = targets.unbind(-1)
    plain, accent, neither = logarithms.unbind(-1)
    apart = weights[0] * (any_beat - downbeat).clamp(min=0) * plain + weights[1] * downbeat * accent
    together = weights[0] * any_beat * torch.logaddexp(plain, accent)
    terms = -(torch.where(known[..., 1] > 0, apart, together) + (1 - any_beat) * neither)
    return masked_mean(terms[..., None], known[..., :1])


def masked_mean(terms: Tensor, mask: Tensor) -> Tensor:
    """Mean of terms `[batch, steps, curves]` where the mask is 1, of each curve apart, summed; 0 where it never is."""
    counts = mask.sum((0, 1))
    return ((terms * mask).sum((0, 1)) / counts.clamp(min=1)).sum()


def _known(logits: Tensor, mask: Tensor | None, reach: int) -> Tensor:
    """Where everything within `reach` steps is known, `[batch, steps, curves]`; beyond the ends nothing is."""
    known = torch.ones_like(logits) if mask is None else mask.float()
    if not reach:
        return known
    return 1 - _largest(F.pad(1 - known, (0, 0, reach, reach), value=1.0), reach)[:, reach:-reach]


def _largest(curves: Tensor, reach: int) -> Tensor:
    """The largest value within `reach` steps on either side, `[batch, steps, curves]`."""
    if not reach:
        return curves
    return F.max_pool1d(curves.transpose(1, 2), 2 * reach + 1, stride=1, padding=reach).transpose(1, 2)
