"""MAEST: a Vision Transformer over log-mel spectrograms, with a distillation token and patchout.

Alonso-Jimenez, Serra and Bogdanov, "Efficient Supervised Training of Audio Transformers for Music Representation
Learning", ISMIR 2023; the ancestor is PaSST (Koutini et al., Interspeech 2022), itself after DeiT (Touvron et al.,
ICML 2021). Parameters bear the names of the published checkpoints. Blocks are counted from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from models.patchout import Kept, Patchout
from models.vit import INIT_STD, Block, init_weights

PATCH = 16
DISTILLED_TYPES = ("mean", "separated")

Logits = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


class Embeddings(NamedTuple):
    """What one pass through the network gave.

    Attributes:
        tokens: Per block asked for, `[B, 3, dim]`: CLS, DIST and the mean of all other tokens at the block's output,
            before the final norm.
        logits: As `MAEST.forward` returns them, or None if they were not asked for.
        features: `[B, dim]`, mean of CLS and DIST after the final norm, or None if logits were not asked for.
    """

    tokens: dict[int, torch.Tensor]
    logits: Logits | None
    features: torch.Tensor | None


def grid_size(length: int, stride: int) -> int:
    """Number of patches of 16 along an axis of `length` values."""
    return (length - PATCH) // stride + 1


class MAEST(nn.Module):
    """Log-mel patches in, class logits and tokens out.

    Positions along time are as many as `n_frames` yields; a published checkpoint may hold one more, which
    `time_positions` states. In training a clip shorter than that is given a random offset in time (one for the batch),
    which teaches every position; in evaluation it starts at the first. A new network has random weights.

    Args:
        n_classes: Number of logits.
        n_bands: Mel bands of the input.
        n_frames: Longest input in frames (30 s at 62.5 frames/s: 1875).
        stride_f: Hop of the patches in bands.
        stride_t: Hop of the patches in frames.
        dim: Width of the tokens.
        depth: Number of blocks.
        heads: Attention heads; must divide `dim`.
        mlp_ratio: Width of the hidden layer of a block in units of `dim`.
        distilled_type: "mean": one head on the mean of CLS and DIST; "separated": `head` on CLS and `head_dist`
            on DIST.
        n_classes_dist: Number of logits of `head_dist`, where a teacher has other classes; None for `n_classes`.
        dropout: Rate after the positions, the projections and in the MLPs.
        attention_dropout: Rate on the attention weights.
        stochastic_depth: Rate of dropped branches at the last block, growing linearly from 0 at the first.
        u_patchout: Single patches dropped at random in training.
        s_patchout_t: Time columns dropped at random in training.
        s_patchout_f: Frequency rows dropped at random in training.
        s_patchout_f_indices: Frequency rows dropped always.
        s_patchout_f_interleaved: k keeps the rows 0, k, 2k, ... always; 0 keeps all.
        s_patchout_t_indices: Time columns dropped always.
        s_patchout_t_interleaved: k keeps the columns 0, k, 2k, ... always; 0 keeps all.
        time_positions: Number of positions along time; None for the number that `n_frames` yields.
        norm_eps: Epsilon of the norms of the blocks and after them.
        head_norm_eps: Epsilon of the head's norm.

    Raises:
        ValueError: If a value is out of range or patchout would leave nothing.
    """

    def __init__(
        self,
        *,
        n_classes: int = 400,
        n_bands: int = 96,
        n_frames: int = 1875,
        stride_f: int = 10,
        stride_t: int = 10,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        distilled_type: str = "mean",
        n_classes_dist: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        u_patchout: int = 0,
        s_patchout_t: int = 0,
        s_patchout_f: int = 0,
        s_patchout_f_indices: Sequence[int] = (),
        s_patchout_f_interleaved: int = 0,
        s_patchout_t_indices: Sequence[int] = (),
        s_patchout_t_interleaved: int = 0,
        time_positions: int | None = None,
        norm_eps: float = 1e-6,
        head_norm_eps: float = 1e-5,
    ) -> None:
        self.hyperparameters: dict[str, Any] = {
            name: list(value) if isinstance(value, (tuple, list)) else value
            for name, value in locals().items()
            if name not in ("self", "__class__")
        }
        super().__init__()
        _check_settings(self.hyperparameters)
        self.n_classes, self.n_bands, self.n_frames = n_classes, n_bands, n_frames
        self.stride_f, self.stride_t = stride_f, stride_t
        self.dim, self.depth, self.distilled_type = dim, depth, distilled_type
        rows = grid_size(n_bands, stride_f)
        self.grid = (rows, time_positions or grid_size(n_frames, stride_t))
        self.patchout = Patchout(
            u_patchout,
            s_patchout_t,
            s_patchout_f,
            tuple(s_patchout_f_indices),
            s_patchout_f_interleaved,
            tuple(s_patchout_t_indices),
            s_patchout_t_interleaved,
        )
        self.patchout.check(rows, min(self.grid[1], grid_size(n_frames, stride_t)))

        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.dist_token = nn.Parameter(torch.empty(1, 1, dim))
        self.new_pos_embed = nn.Parameter(torch.empty(1, 2, dim))
        self.freq_new_pos_embed = nn.Parameter(torch.empty(1, dim, rows, 1))
        self.time_new_pos_embed = nn.Parameter(torch.empty(1, dim, 1, self.grid[1]))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, stride=(stride_f, stride_t))})
        self.pos_drop = nn.Dropout(dropout)
        rates = [stochastic_depth * index / max(depth - 1, 1) for index in range(depth)]
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio, dropout, attention_dropout, rate, norm_eps) for rate in rates
        )
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.head = nn.Sequential(nn.LayerNorm(dim, eps=head_norm_eps), nn.Linear(dim, n_classes))
        self.head_dist = nn.Linear(dim, n_classes if n_classes_dist is None else n_classes_dist)

        self.apply(init_weights)
        for name in self.no_weight_decay():
            nn.init.trunc_normal_(self.get_parameter(name), std=INIT_STD)

    @property
    def max_frames(self) -> int:
        """Longest input in frames for which every patch has a position."""
        return PATCH + self.grid[1] * self.stride_t - 1

    def no_weight_decay(self) -> tuple[str, ...]:
        """Names of the tokens and positional tensors, which a recipe may exempt from weight decay."""
        return ("cls_token", "dist_token", "new_pos_embed", "freq_new_pos_embed", "time_new_pos_embed")

    def layers(self) -> list[list[str]]:
        """Names of all parameters by depth: what makes the tokens, each block (the final norm with the last), heads."""
        parts: list[list[str]] = [[] for _ in range(self.depth + 2)]
        for name, _ in self.named_parameters():
            part, _, rest = name.partition(".")
            depths = {"blocks": int(rest.partition(".")[0]) + 1} if part == "blocks" else {"norm": self.depth}
            parts[-1 if part.startswith("head") else depths.get(part, 0)].append(name)
        return parts

    def count_tokens(self, frames: int | None = None, training: bool = False) -> int:
        """Length of the sequence, with CLS and DIST, for an input of `frames` (None: `n_frames`)."""
        columns = grid_size(self.n_frames if frames is None else frames, self.stride_t)
        return self.patchout.count(self.grid[0], columns, training) + 2

    def forward(self, x: torch.Tensor) -> Logits:
        """Class logits.

        Args:
            x: Normalised log-mel `[B, 1, n_bands, T]` or `[B, n_bands, T]`, 16 <= T <= `max_frames`.

        Returns:
            `[B, n_classes]`, or a pair (CLS head; DIST head `[B, n_classes_dist]`) if `distilled_type` is "separated".

        Raises:
            ValueError: If the input has another shape.
        """
        return self._classify(self._encode(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of CLS and DIST after the final norm, `[B, dim]`; input as in `forward`."""
        return self._encode(x).mean(dim=1)

    def embed(self, x: torch.Tensor, blocks: Sequence[int], logits: bool = False) -> Embeddings:
        """Tokens of some blocks, and logits if asked for, from one pass.

        Blocks after the last one needed are not run, and the last block computes CLS and DIST only if nobody reads it.

        Args:
            x: As in `forward`.
            blocks: Blocks to read, counted from 0.
            logits: Whether to run to the end for logits and features.

        Raises:
            ValueError: If a block does not exist or the input has another shape.
        """
        blocks = sorted(set(blocks))
        wrong = [block for block in blocks if not 0 <= block < self.depth]
        if wrong:
            raise ValueError(f"blocks {wrong} do not exist: this network has the blocks 0 to {self.depth - 1}")
        if not blocks and not logits:
            raise ValueError(f"nothing to compute: name at least one block of 0 to {self.depth - 1}, or ask for logits")
        x = self._tokenise(x)
        tokens: dict[int, torch.Tensor] = {}
        for index in range(self.depth if logits else blocks[-1] + 1):
            unread = index == self.depth - 1 and index not in blocks
            x = self.blocks[index](x, queries=2) if unread else self.blocks[index](x)
            if index in blocks:
                tokens[index] = torch.cat([x[:, :2], x[:, 2:].mean(dim=1, keepdim=True)], dim=1)
        if not logits:
            return Embeddings(tokens, None, None)
        pair = self.norm(x[:, :2])
        return Embeddings(tokens, self._classify(pair), pair.mean(dim=1))

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        """CLS and DIST after the final norm, `[B, 2, dim]`."""
        x = self._tokenise(x)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, queries=2))

    def _classify(self, pair: torch.Tensor) -> Logits:
        if self.distilled_type == "separated":
            return self.head(pair[:, 0]), self.head_dist(pair[:, 1])
        return self.head(pair.mean(dim=1))

    def _tokenise(self, x: torch.Tensor) -> torch.Tensor:
        """Embeds the kept patches, adds positions and puts CLS and DIST in front: `[B, N, dim]`."""
        x = self._check_input(x)
        rows, columns = grid_size(x.shape[1], self.stride_f), grid_size(x.shape[2], self.stride_t)
        kept = self.patchout.draw(rows, columns, self.training)
        kept = None if kept is None else kept.to(x.device)
        spare = self.grid[1] - columns
        offset = int(torch.randint(spare + 1, ())) if self.training and spare else 0
        patches = self._cut(x, kept)
        proj = self.patch_embed["proj"]
        patches = F.linear(patches, proj.weight.flatten(1), proj.bias) + self._positions(columns, offset, kept)
        special = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        special = special.to(patches.dtype).expand(len(x), -1, -1)
        return self.pos_drop(torch.cat([special, patches], dim=1))

    def _cut(self, x: torch.Tensor, kept: Kept | None) -> torch.Tensor:
        """Patches of `x` `[B, F, T]` as vectors `[B, N, 256]`; what patchout drops is never read."""
        view = x.unfold(1, PATCH, self.stride_f).unfold(2, PATCH, self.stride_t)
        if kept is not None:
            columns = len(kept.columns)
            row, column = kept.rows.repeat_interleave(columns), kept.columns.repeat(len(kept.rows))
            if kept.tokens is not None:
                row, column = row[kept.tokens], column[kept.tokens]
            view = view[:, row, column]
        return view.reshape(len(x), -1, PATCH * PATCH)

    def _positions(self, columns: int, offset: int, kept: Kept | None) -> torch.Tensor:
        """Positional vectors of the kept patches, `[N, dim]`."""
        frequency = self.freq_new_pos_embed[0, :, :, 0].t()
        time = self.time_new_pos_embed[0, :, 0, offset : offset + columns].t()
        if kept is not None:
            frequency, time = frequency[kept.rows], time[kept.columns]
        positions = (frequency[:, None] + time[None]).flatten(0, 1)
        if kept is not None and kept.tokens is not None:
            positions = positions[kept.tokens]
        return positions

    def _check_input(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the input as `[B, F, T]` in the dtype of the weights."""
        expected = (
            f"expected a tensor [B, 1, {self.n_bands}, T] or [B, {self.n_bands}, T], {PATCH} <= T <= {self.max_frames}"
        )
        if not isinstance(x, torch.Tensor):
            raise ValueError(f"got a {type(x).__name__}: {expected}; use torch.from_numpy for an array")
        shape = list(x.shape)
        if x.ndim == 4 and x.shape[1] == 1:
            x = x[:, 0]
        if x.ndim != 3 or x.shape[1] != self.n_bands or x.shape[0] == 0 or not PATCH <= x.shape[2] <= self.max_frames:
            remedy = ""
            if x.ndim == 3 and x.shape[1] == self.n_bands and x.shape[2] > self.max_frames:
                remedy = f"; cut the clip into windows of at most {self.max_frames} frames"
            raise ValueError(f"got shape {shape}: {expected}{remedy}")
        return x.to(self.cls_token.dtype)


def _check_settings(settings: dict[str, Any]) -> None:
    for name in ("n_classes", "stride_f", "stride_t", "dim", "depth", "heads"):
        if settings[name] < 1:
            raise ValueError(f"{name}={settings[name]}: expected at least 1")
    for name in ("n_bands", "n_frames"):
        if settings[name] < PATCH:
            raise ValueError(f"{name}={settings[name]}: expected at least {PATCH}, the size of one patch")
    for name in ("dropout", "attention_dropout", "stochastic_depth"):
        if not 0.0 <= settings[name] < 1.0:
            raise ValueError(f"{name}={settings[name]}: expected a rate of 0 <= rate < 1")
    if settings["dim"] % settings["heads"]:
        raise ValueError(f"dim={settings['dim']} is not divisible by heads={settings['heads']}")
    if settings["distilled_type"] not in DISTILLED_TYPES:
        raise ValueError(f"distilled_type={settings['distilled_type']!r}: expected one of {', '.join(DISTILLED_TYPES)}")
    for name in ("time_positions", "n_classes_dist"):
        if settings[name] is not None and settings[name] < 1:
            raise ValueError(f"{name}={settings[name]}: expected at least 1, or None")
