"""How the learning rate changes: its factor as a function of the epoch or of the optimiser step.

`exp_lin` and `cos_cyc` are of PaSST (arXiv 2110.05069, section 4.1, and its public recipe).
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]

HALF_CYCLE = 145  # optimiser steps, of `cyclic`: about an epoch of MagnaTagATune in batches of 128


def exp_lin(warm_up_len: int, ramp_down_start: int, ramp_down_len: int, last_lr_value: float) -> Schedule:
    """Exponential warm-up, plateau, linear ramp down to a floor; lengths in epochs."""

    def factor(epoch: int) -> float:
        up = math.exp(-5.0 * (1.0 - max(epoch, 0.5) / warm_up_len) ** 2) if epoch < warm_up_len else 1.0
        return up * _linear_down(epoch, ramp_down_start, ramp_down_len, last_lr_value)

    return factor


def _linear_down(epoch: int, start: int, length: int, floor: float) -> float:
    if epoch <= start:
        return 1.0
    if epoch - start >= length:
        return floor
    return floor + (1.0 - floor) * (length - epoch + start) / length


def cos_cyc(warm_up_len: int, ramp_down_start: int, ramp_down_len: int, last_lr_value: float) -> Schedule:
    """Cosine cycles of `warm_up_len` epochs, starting at the floor, until ramp-down starts; then the floor.

    The end is the start of ramp-down rounded up to a whole number of cycles. `ramp_down_len` has no effect.
    """
    cycle = warm_up_len
    last = cycle + math.floor((ramp_down_start - 1) / cycle) * cycle

    def factor(epoch: int) -> float:
        if epoch >= last:
            return last_lr_value
        wave = math.cos(2 * math.pi * (epoch + cycle // 2) / cycle)
        return last_lr_value + (1.0 - last_lr_value) * (wave + 1.0) / 2.0

    return factor


def exponential(warm_up_len: int, ramp_down_start: int, ramp_down_len: int, last_lr_value: float) -> Schedule:
    """Half of the rate every epoch, while a linear warm-up goes on; not below the floor. Ramp-down has no effect."""

    def factor(epoch: int) -> float:
        return max(last_lr_value, min(1.0, (epoch + 1) / warm_up_len) * 0.5**epoch)

    return factor


def cyclic(warm_up_len: int, ramp_down_start: int, ramp_down_len: int, last_lr_value: float) -> Schedule:
    """Triangles between the floor and the rate, each half as high as the last (Smith, arXiv 1506.01186, triangular2).

    By optimiser step, `HALF_CYCLE` up and as many down; the lengths have no effect.
    """

    def factor(step: int) -> float:
        cycle, place = divmod(step, 2 * HALF_CYCLE)
        height = 1.0 - abs(place / HALF_CYCLE - 1.0)
        return last_lr_value + (1.0 - last_lr_value) * height / 2**cycle

    return factor


def cosine(warm_up_len: int, ramp_down_start: int, ramp_down_len: int, last_lr_value: float) -> Schedule:
    """Linear warm-up, plateau, half a cosine down to a floor (Loshchilov and Hutter, arXiv 1608.03983, one cycle)."""

    def factor(epoch: int) -> float:
        up = min(1.0, (epoch + 1) / warm_up_len)
        down = min(max((epoch - ramp_down_start) / ramp_down_len, 0.0), 1.0)
        return up * (last_lr_value + (1.0 - last_lr_value) * (1.0 + math.cos(math.pi * down)) / 2.0)

    return factor


def constant(warm_up_len: int, ramp_down_start: int, ramp_down_len: int, last_lr_value: float) -> Schedule:
    """One rate all along."""
    return lambda epoch: 1.0


SCHEDULES: dict[str, Callable[[int, int, int, float], Schedule]] = {
    "exp_lin": exp_lin,
    "cos_cyc": cos_cyc,
    "exponential": exponential,
    "cyclic": cyclic,
    "cosine": cosine,
    "constant": constant,
}
BY_STEP = ("cyclic",)  # whose factors are of optimiser steps, not of epochs
