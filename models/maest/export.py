"""A network that takes audio: front end, normalisation and MAEST as one module that can be exported.

The log-mel is made of matrix products with the basis of the Fourier transform, the patches by a convolution, and heads
are split by shape alone: plain operations that every runtime has. Equal to `models.frontends` followed by
`models.maest` up to rounding.

A window of `hop n` samples gives the first `n` frames of its log-mel, which is what a file of that length is predicted
from; the frame centred on its end is left out. The first half frame of a window cut out of a track sees zeros where a
log-mel of the whole track sees what came before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from models.errors import ExportError
from models.export import ExportForm, check_frames
from models.frontends.mel import MatrixMel, MelFrontEnd
from models.maest.grid import PATCH, grid_size
from models.maest.vit import Block

_READ = 2  # CLS and DIST


class ExportBlock(nn.Module):
    """A `Block` in evaluation, each of its products a linear layer of its own.

    Args:
        block: Shares its weights.
        queries: Compute so many first tokens alone; None computes all.
        fused: Attention as the one operation that onnxruntime has for it; such a module can be exported, not run.
    """

    def __init__(self, block: Block, queries: int | None = None, fused: bool = False) -> None:
        super().__init__()
        attention, self.queries, self.fused = block.attn, queries, fused
        self.heads, self.dim = attention.heads, attention.proj.in_features
        if queries is None:
            self.qkv = attention.qkv
        else:
            self.q, self.kv = _rows(attention.qkv, 0, self.dim), _rows(attention.qkv, self.dim, 3 * self.dim)
        self.norm1, self.norm2, self.proj = block.norm1, block.norm2, attention.proj
        self.fc1, self.fc2 = block.mlp.fc1, block.mlp.fc2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, N, dim]` -> `[B, N, dim]`, or `[B, queries, dim]`."""
        normed = self.norm1(x)
        if self.queries is None:
            q, k, v = self.qkv(normed).split(self.dim, -1)
        else:
            x = x[:, : self.queries]
            q, (k, v) = self.q(normed[:, : self.queries]), self.kv(normed).split(self.dim, -1)
        x = x + self.proj(self._attend(q, k, v))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if self.fused:
            name, settings = "com.microsoft::MultiHeadAttention", {"num_heads": self.heads}
            return torch.onnx.ops.symbolic(name, [q, k, v], settings, dtype=q.dtype, shape=q.shape, version=1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class AudioNetwork(ExportForm):
    """Audio in, logits and embeddings out; shares its weights with the network, always in evaluation.

    Windows have a multiple of the hop in samples, so many frames: what a track is cut into.

    Args:
        network: A MAEST. Its patchout that holds always is kept.
        frontend: What it was trained on; its hop is half a frame.
        mean: Of the log-mels it was trained on.
        std: Of these; `(x - mean) / (2 std)` is what the network sees.
        blocks: Blocks whose tokens are wanted, counted from 0, in the order of the output.
        frames: Of a window; None for the network's own.
        fused: See `ExportBlock`.

    Raises:
        ExportError: Blocks that do not exist, or windows that it does not take.
    """

    rounded = "blocks."

    def __init__(
        self,
        network: nn.Module,
        frontend: MelFrontEnd,
        mean: float,
        std: float,
        blocks: Sequence[int],
        frames: int | None = None,
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.step = frontend.hop
        self.samples = self.longest = self.step * _checked(network, blocks, frames)
        self.shortest = self.step * (PATCH + network.stride_t)
        self.mean, self.std, self.read = mean, std, list(blocks)
        self.mel = MatrixMel(frontend, whole=False)
        self.patches = network.patch_embed["proj"]
        self.tokens = nn.Parameter((torch.cat([network.cls_token, network.dist_token], 1) + network.new_pos_embed)[:])
        self.frequency, self.time = network.freq_new_pos_embed, network.time_new_pos_embed
        last = network.depth - 1
        self.blocks = nn.ModuleList(
            ExportBlock(block, _READ if index == last and index not in self.read else None, fused)
            for index, block in enumerate(network.blocks)
        )
        self.norm, self.head, self.pair = network.norm, network.head, network.distilled_type == "mean"
        self.register_buffer("kept", _kept(network, self.samples // self.step), persistent=False)
        self.eval().requires_grad_(False)

    def check_lengths(self) -> None:
        """Patchout has chosen patches of windows of one length."""
        if self.kept is not None:
            raise ExportError(
                "patchout that holds always fixes the length of windows: export one length, or without patchout"
            )

    def frames_of(self, audio: torch.Tensor) -> torch.Tensor:
        """See `ExportForm`."""
        return self.mel(audio)

    def of_frames(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `ExportForm`; tokens are CLS, DIST and the mean of the others at the output of a block."""
        x = self.patches(((frames - self.mean) / (2 * self.std)).transpose(1, 2)[:, None])
        time = self.time[..., torch.arange(x.shape[3], device=x.device)]  # a slice would fix the length of a program
        x = (x + self.frequency + time).flatten(2).transpose(1, 2)
        if self.kept is not None:
            x = x[:, self.kept]
        x = torch.cat([self.tokens.expand(x.shape[0], -1, -1), x], 1)
        outputs = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.read:
                outputs[index] = torch.cat([x[:, :_READ], x[:, _READ:].mean(1, keepdim=True)], 1)
        pair = self.norm(x[:, :_READ])
        logits = self.head(pair.mean(1) if self.pair else pair[:, 0])
        return logits, torch.stack([outputs[index] for index in self.read], 1)


def _rows(linear: nn.Linear, start: int, stop: int) -> nn.Linear:
    part = nn.Linear(linear.in_features, stop - start, device="meta")
    part.weight, part.bias = (
        nn.Parameter(whole.detach()[start:stop].clone()) for whole in (linear.weight, linear.bias)
    )
    return part


def _kept(network: nn.Module, frames: int) -> torch.Tensor | None:
    """Positions in the flattened grid that patchout leaves; None for all."""
    columns = grid_size(frames, network.stride_t)
    kept = network.patchout.sample(network.grid[0], columns, training=False)
    return None if kept is None else (kept.rows[:, None] * columns + kept.columns).flatten()


def _checked(network: nn.Module, blocks: Sequence[int], frames: int | None) -> int:
    """The frames of a window."""
    wrong = [block for block in blocks if not 0 <= block < network.depth]
    if wrong or not blocks or len(set(blocks)) < len(blocks):
        raise ExportError(f"blocks {list(blocks)}: expected some of 0 to {network.depth - 1}, each once")
    return check_frames(network, network.n_frames if frames is None else frames)
