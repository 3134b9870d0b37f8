"""Patchout: which patches of a spectrogram a transformer gets to see.

Koutini et al., "Efficient Training of Audio Transformers with Patchout", Interspeech 2022. Patches form a grid of
frequency rows and time columns. Settings that hold always (listed and interleaved rows and columns) and settings that
hold in training only (so many random rows, columns or single patches fewer) are combined into one list of kept indices
per axis, so that any of them can be used together, and the number of kept patches never varies from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from models.maest.grid import PATCH
from models.transfer import send


class Kept(NamedTuple):
    """The patches that go on, in ascending order of frequency row, then time column.

    Attributes:
        rows: Frequency rows, int64 `[R]`.
        columns: Time columns, int64 `[C]`.
        tokens: Positions inside the flattened `R x C` grid, int64 `[N]`, or `[B, N]` where every window has its own;
            None keeps all of them.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    tokens: torch.Tensor | None

    def to(self, device: torch.device) -> Kept:
        """The same indices on a device; a GPU is not waited for."""
        return Kept(*(index if index is None else send(index, device) for index in self))


@dataclass(frozen=True)
class Patchout:
    """Settings of patchout, each with the name it has as an argument of the network.

    The settings that hold always come first: a row is a candidate if it is a multiple of `s_patchout_f_interleaved`
    (0: every row) and not listed in `s_patchout_f_indices`. In training `s_patchout_f` random candidates are dropped.
    Columns likewise. `u_patchout` random patches of what is left are dropped last, in training.
    """

    u_patchout: int = 0
    s_patchout_t: int = 0
    s_patchout_f: int = 0
    s_patchout_f_indices: tuple[int, ...] = ()
    s_patchout_f_interleaved: int = 0
    s_patchout_t_indices: tuple[int, ...] = ()
    s_patchout_t_interleaved: int = 0

    def __post_init__(self) -> None:
        for name in (
            "u_patchout",
            "s_patchout_t",
            "s_patchout_f",
            "s_patchout_f_interleaved",
            "s_patchout_t_interleaved",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: expected 0 (off) or a positive number")
        for name in ("s_patchout_f_indices", "s_patchout_t_indices"):
            object.__setattr__(self, name, tuple(int(index) for index in getattr(self, name)))

    def check(self, rows: int, columns: int) -> None:
        """Tries the settings on a whole grid.

        Raises:
            ValueError: If a listed index lies outside the grid, or if less than one row, column or patch is left.
        """
        for name, size in (("s_patchout_f_indices", rows), ("s_patchout_t_indices", columns)):
            outside = [index for index in getattr(self, name) if not 0 <= index < size]
            if outside:
                raise ValueError(f"{name} holds {outside}: the grid has the indices 0 to {size - 1}")
        for training in (False, True):
            self.count(rows, columns, training)

    def count(self, rows: int, columns: int, training: bool) -> int:
        """Number of kept patches of a grid of `rows` x `columns`; raises ValueError if it would be less than one."""
        kept_rows = len(self._candidates("f", rows)) - (self.s_patchout_f if training else 0)
        kept_columns = len(self._candidates("t", columns)) - (self.s_patchout_t if training else 0)
        for axis, what, left, size in (
            ("f", "frequency row", kept_rows, rows),
            ("t", "time column", kept_columns, columns),
        ):
            if left < 1:
                raise ValueError(
                    f"patchout leaves no {what} of {size} ({self._describe(axis, training)}): "
                    f"at least one must be left; lower these settings or give longer input"
                )
        left = kept_rows * kept_columns - (self.u_patchout if training else 0)
        if left < 1:
            raise ValueError(
                f"u_patchout={self.u_patchout} drops every one of the {kept_rows} x {kept_columns} patches: "
                f"expected at most {kept_rows * kept_columns - 1}"
            )
        return left

    def sample(self, rows: int, columns: int, training: bool) -> Kept | None:
        """Chooses the patches of one step, from torch's default generator.

        Returns:
            The kept indices on the CPU, or None if the whole grid is kept.

        Raises:
            ValueError: If less than one row, column or patch is left.
        """
        total = self.count(rows, columns, training)
        if total == rows * columns:
            return None
        kept_rows = _drop(torch.tensor(self._candidates("f", rows)), self.s_patchout_f if training else 0)
        kept_columns = _drop(torch.tensor(self._candidates("t", columns)), self.s_patchout_t if training else 0)
        grid = len(kept_rows) * len(kept_columns)
        tokens = _drop(torch.arange(grid), grid - total) if total < grid else None
        return Kept(kept_rows, kept_columns, tokens)

    def sample_each(
        self, rows: int, columns: int, batch: int, masked: float, generator: torch.Generator | None = None
    ) -> Kept:
        """Chooses a part of the patches for every window by itself, of those that are not dropped always.

        Args:
            rows: Of the grid.
            columns: Of the grid.
            batch: Number of windows.
            masked: Share of the patches that is left out; one stays at least.
            generator: Draws them; None: torch's default one.

        Raises:
            ValueError: If less than one row or column is left.
        """
        total = self.count(rows, columns, training=False)
        order = torch.rand(batch, total, generator=generator).argsort(1)
        tokens = order[:, : max(1, round(total * (1 - masked)))]
        return Kept(torch.tensor(self._candidates("f", rows)), torch.tensor(self._candidates("t", columns)), tokens)

    def _candidates(self, axis: str, size: int) -> list[int]:
        step = getattr(self, f"s_patchout_{axis}_interleaved") or 1
        listed = frozenset(getattr(self, f"s_patchout_{axis}_indices"))
        return [index for index in range(0, size, step) if index not in listed]

    def _describe(self, axis: str, training: bool) -> str:
        names = [f"s_patchout_{axis}_indices", f"s_patchout_{axis}_interleaved"]
        names = [f"s_patchout_{axis}", *names] if training else names
        return ", ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name)) or "no setting"


def cut_patches(x: torch.Tensor, stride_f: int, stride_t: int, kept: Kept | None) -> torch.Tensor:
    """Patches of `x` `[B, F, T]` as vectors `[B, N, 256]`; what patchout drops is never read."""
    view = x.unfold(1, PATCH, stride_f).unfold(2, PATCH, stride_t)
    if kept is not None:
        columns = len(kept.columns)
        row, column = kept.rows.repeat_interleave(columns), kept.columns.repeat(len(kept.rows))
        if kept.tokens is not None:
            row, column = row[kept.tokens], column[kept.tokens]
        windows = torch.arange(len(x), device=x.device)[:, None] if row.ndim > 1 else slice(None)
        view = view[windows, row, column]
    return view.reshape(len(x), -1, PATCH * PATCH)


def sum_positions(frequency: torch.Tensor, time: torch.Tensor, kept: Kept | None) -> torch.Tensor:
    """Positional vectors of the kept patches, `[N, dim]`, of `[1, dim, rows, 1]` and `[1, dim, 1, columns]`.

    Where every window has patches of its own, `[B, N, dim]`.
    """
    rows, columns = frequency[0, :, :, 0].t(), time[0, :, 0].t()
    if kept is not None:
        rows, columns = rows[kept.rows], columns[kept.columns]
    positions = (rows[:, None] + columns[None]).flatten(0, 1)
    return positions if kept is None or kept.tokens is None else positions[kept.tokens]


def _drop(candidates: torch.Tensor, n: int) -> torch.Tensor:
    """Removes `n` random entries and keeps the order of the others."""
    if n == 0:
        return candidates
    return candidates[torch.randperm(len(candidates))[n:].sort().values]
