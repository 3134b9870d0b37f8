"""Self-attention: residual convolutions over the mel spectrogram of 15 s, and a transformer over what they give.

Won, Chun and Serra, "Toward interpretable music tagging with self-attention", arXiv 1906.04972, in the form of Won et
al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, whose published weights load by their names.
The transformer is that of BERT (Devlin et al., NAACL 2019) without positions: layer norm follows each sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.convolutional import ResBlock, Tagger
from models.kernels.attention import attention
from models.kernels.products import Linear

WINDOW = 240_000  # samples: 15 s at 16 kHz
STRIDES = (2, 2, 2, (2, 1), (2, 1), (2, 1), (2, 1))  # bands and frames, layer by layer
EPSILON = 1e-12  # of the layer norms


class SelfAttention(nn.Module):
    """Attention of tokens to each other, by several heads.

    Args:
        dim: Of a token; a multiple of `heads`.
        heads: Number of heads.
        dropout: Rate of the weights of attention.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.query, self.key, self.value = (Linear(dim, dim) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, dim]`."""
        parts = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = attention(*parts, self.rate if self.training else 0.0)
        return mixed.transpose(1, 2).flatten(2)


class Added(nn.Module):
    """A linear layer and dropout, added to what came before; then layer norm.

    Args:
        dim_in: Of the input.
        dim: Of the output.
        dropout: Rate behind the linear layer.
    """

    def __init__(self, dim_in: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dense = Linear(dim_in, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """`x` `[batch, tokens, dim_in]` and `before` `[batch, tokens, dim]` to `[batch, tokens, dim]`."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)


class TransformerLayer(nn.Module):
    """Attention, then two linear layers with a GELU between them, each added to its input and normalised.

    Args:
        dim: Of a token.
        heads: Of the attention.
        dropout: Rate before each sum.
        attention_dropout: Rate of the weights of attention.
    """

    def __init__(self, dim: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        parts = {"self": SelfAttention(dim, heads, attention_dropout), "output": Added(dim, dim, dropout)}
        self.attention = nn.ModuleDict(parts)
        self.intermediate = nn.ModuleDict({"dense": Linear(dim, 4 * dim)})
        self.output = Added(4 * dim, dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, dim]`."""
        x = self.attention["output"](self.attention["self"](x), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class Transformer(nn.Module):
    """Layers of attention over cells, behind a token for the whole.

    That token is no parameter, and no file has it: it is the first draw of numpy's legacy generator with the seed 0.

    Args:
        dim: Of a token.
        depth: Number of layers.
        heads: See `TransformerLayer`.
        dropout: See `TransformerLayer`.
        attention_dropout: See `TransformerLayer`.
    """

    def __init__(self, dim: int, depth: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TransformerLayer(dim, heads, dropout, attention_dropout) for _ in range(depth))
        whole = torch.from_numpy(np.random.RandomState(0).random_sample((1, 1, dim))).float()
        self.register_buffer("whole", whole, persistent=False)

    def forward(self, cells: Tensor) -> Tensor:
        """`[batch, dim, ...]` to `[batch, dim, tokens]`, the token for the whole first."""
        tokens = torch.cat([self.whole.expand(len(cells), -1, -1), cells.flatten(2).transpose(1, 2)], 1)
        for layer in self.layer:
            tokens = layer(tokens)
        return tokens.transpose(1, 2)


class Pooler(nn.Module):
    """A linear layer and tanh of the first token.

    Args:
        dim: Of a token.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dense = Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[batch, dim, tokens]` to `[batch, dim, 1]`."""
        return torch.tanh(self.dense(tokens[..., 0]))[..., None]


class SelfAttentionCNN(Tagger, name="self_attention"):
    """Seven residual layers over the level of 128 mel bands in dB, a transformer of two layers, and a linear layer.

    The convolutions leave one cell of bands and every eighth frame; of these cells, any number will do.

    Args:
        n_classes: Number of logits.
        channels: Of each of the seven residual layers; the last are those of a token.
        depth: Layers of the transformer.
        heads: Of its attention.
        encoder_dropout: Rate before its sums.
        attention_dropout: Rate of its weights of attention.
        dropout: Rate before the linear layer.

    Raises:
        ValueError: Other than seven layers, or heads that do not divide the channels of the last.
    """

    frontend_arguments: ClassVar[Mapping[str, Any]] = {"bands": 128}
    window_samples = WINDOW
    window = 1 + WINDOW // 256
    layer_names = (*(f"layer{number}" for number in range(1, 8)), "encoder", "penultimate")
    within: ClassVar[Mapping[str, str]] = {"pooler": "penultimate"}
    head_prefixes = ("dense.",)
    stages = len(STRIDES)

    def __init__(
        self,
        *,
        n_classes: int = 50,
        channels: Sequence[int] = (128, 128, 256, 256, 256, 256, 256),
        depth: int = 2,
        heads: int = 8,
        encoder_dropout: float = 0.4,
        attention_dropout: float = 0.5,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.check({"channels": channels, "depth": depth, "heads": heads})
        self.n_classes = n_classes
        self.spec_bn = nn.BatchNorm2d(1)
        width = 1
        for name, wider, stride in zip(self.layer_names, channels, STRIDES, strict=False):
            setattr(self, name, ResBlock(width, wider, stride))
            width = wider
        self.encoder = Transformer(width, depth, heads, encoder_dropout, attention_dropout)
        self.pooler = Pooler(width)
        self.dropout = nn.Dropout(dropout)
        self.dense = Linear(width, n_classes)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Seven layers, and whole heads."""
        super().check(arguments)
        channels, depth, heads = (arguments[name] for name in ("channels", "depth", "heads"))
        if depth < 1 or heads < 1 or channels[-1] % heads:
            raise ValueError(
                f"depth={depth}, heads={heads}: expected at least 1, heads a divisor of the last of channels, "
                f"{channels[-1]}"
            )

    def penultimate(self, cells: Tensor) -> Tensor:
        """Tokens to the pooled one, `[batch, dim, 1]`."""
        return self.pooler(cells)

    def classify(self, cells: Tensor) -> Tensor:
        """The pooled token to logits."""
        return self.dense(self.dropout(cells.flatten(1)))
