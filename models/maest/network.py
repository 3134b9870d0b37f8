"""MAEST: a Vision Transformer over log-mel spectrograms, with a distillation token and patchout.

Alonso-Jimenez, Serra and Bogdanov, "Efficient Supervised Training of Audio Transformers for Music Representation
Learning", ISMIR 2023; the ancestor is PaSST (Koutini et al., Interspeech 2022), itself after DeiT (Touvron et al.,
ICML 2021). Parameters bear the names of the published checkpoints. Blocks are counted from 0.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from models.arguments import Count, Positive, Rate
from models.export import ExportForm, check_layers
from models.frontends.base import FrontEnd
from models.frontends.mel import MelFrontEnd
from models.initial_weights import LoadReport, State
from models.inputs import Inputs
from models.kernels.products import linear
from models.kernels.subnormals import without_subnormals
from models.maest.adapt import adapt
from models.maest.compiled import compile_blocks
from models.maest.export import AudioNetwork
from models.maest.flops import cost
from models.maest.grid import PATCH, check_input, grid_size
from models.maest.patchout import Kept, Patchout, cut_patches, sum_positions
from models.maest.prepared import prepare
from models.maest.published import FRONT_END, published_arguments
from models.maest.vit import INIT_STD, Block, init_weights
from models.network import Network, Outputs

USUAL_BLOCK = 6  # of twelve: the "block 7" of the paper
DISTILLED_TYPES = ("mean", "separated")
HEADS = ("cls", "dist")  # of a network with separated heads


class MAEST(Network, name="maest"):
    """Log-mel patches in, class logits and tokens out.

    Positions along time are as many as `n_frames` yields; a published checkpoint may hold one more, which
    `time_positions` states. In training a window shorter than that is given a random offset in time (one for the
    batch), so that every position is trained; in evaluation it starts at the first. A new network has random weights.

    Args:
        n_classes: Number of logits; 0 of a network that is trained without labels.
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

    derived = ("n_classes", "n_bands", "n_frames", "n_classes_dist", "time_positions", "norm_eps", "head_norm_eps")
    inherited = ("norm_eps", "head_norm_eps")
    adjustable = (
        "s_patchout_f_indices",
        "s_patchout_f_interleaved",
        "s_patchout_t_indices",
        "s_patchout_t_interleaved",
    )
    seconds = 10.0
    min_frames = PATCH
    token_names = ("cls", "dist", "mean")
    head_prefixes = ("head.", "head_dist.")

    def __init__(
        self,
        *,
        n_classes: int = 400,
        n_bands: int = 96,
        n_frames: int = 1875,
        stride_f: Positive = 10,
        stride_t: Positive = 10,
        dim: Positive = 768,
        depth: Positive = 12,
        heads: Positive = 12,
        mlp_ratio: Annotated[float, Field(gt=0)] = 4.0,
        distilled_type: Literal["mean", "separated"] = "mean",
        n_classes_dist: int | None = None,
        dropout: Rate = 0.0,
        attention_dropout: Rate = 0.0,
        stochastic_depth: Rate = 0.0,
        u_patchout: Count = 0,
        s_patchout_t: Count = 0,
        s_patchout_f: Count = 0,
        s_patchout_f_indices: Sequence[Count] = (),
        s_patchout_f_interleaved: Count = 0,
        s_patchout_t_indices: Sequence[Count] = (),
        s_patchout_t_interleaved: Count = 0,
        time_positions: int | None = None,
        norm_eps: float = 1e-6,
        head_norm_eps: float = 1e-5,
    ) -> None:
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

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes, bands and frames."""
        return {"n_classes": n_classes, "n_bands": frontend.item_shape[0], "n_frames": frames}

    @classmethod
    def from_published(cls, state: Mapping[str, torch.Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of MAEST's and PaSST's releases."""
        own = {key: tensor for key, tensor in state.items() if not key.startswith(FRONT_END)}
        arguments = published_arguments(own)
        return None if arguments is None else (arguments, own, {})

    def fit_weights(self, source: Mapping[str, torch.Tensor], name: str, **rules: Any) -> tuple[State, LoadReport]:
        """Also of other lengths, other bands, more or fewer blocks, and of images; see `models.maest.adapt`."""
        return adapt(source, self.state_dict(), name, **rules)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """The heads share the width."""
        if arguments["dim"] % arguments["heads"]:
            raise ValueError(f"dim={arguments['dim']} is not divisible by heads={arguments['heads']}")

    @property
    def window(self) -> int:
        """Frames of the windows it is made for."""
        return self.n_frames

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Its blocks, counted from 0."""
        return tuple(f"block_{number:02d}" for number in range(self.depth))

    @property
    def default_layer(self) -> str:
        """The "block 7" of the MAEST paper, of a shallower network the middle block; without outputs the last one."""
        if not self.n_classes:
            return self.layer_names[-1]
        return self.layer_names[min(USUAL_BLOCK, self.depth // 2)]

    @property
    def max_frames(self) -> int:
        """Longest input in frames for which every patch has a position."""
        return PATCH + self.grid[1] * self.stride_t - 1

    def no_weight_decay(self) -> tuple[str, ...]:
        """Names of the tokens and positional tensors, which a recipe may exempt from weight decay."""
        return ("cls_token", "dist_token", "new_pos_embed", "freq_new_pos_embed", "time_new_pos_embed")

    def parameter_layers(self) -> list[list[str]]:
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

    def unpadded(self, frames: int) -> int:
        """As many as whole patches have; patchout that holds always may leave nothing of them."""
        if frames < PATCH:
            raise ValueError(f"{frames} frames: at least {PATCH} are needed, one patch")
        self.count_tokens(frames)
        return PATCH + self.stride_t * (grid_size(frames, self.stride_t) - 1)

    def forward(self, x: torch.Tensor) -> Outputs:
        """Class logits.

        Args:
            x: Normalised log-mel `[B, T, n_bands]`, 16 <= T <= `max_frames`.

        Returns:
            `[B, n_classes]`; with `distilled_type` "separated" those of both heads as `cls` and `dist`.

        Raises:
            ValueError: If the input has another shape.
        """
        return self._classify(self._encode(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of CLS and DIST after the final norm, `[B, dim]`; input as in `forward`."""
        return self._encode(x).mean(dim=1)

    def embed(self, x: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Tokens of some blocks: CLS, DIST and the mean of all others at a block's output, before the final norm.

        Blocks after the last one needed are not run.

        Args:
            x: As in `forward`.
            layers: Of `layer_names`.

        Returns:
            `[B, 3, dim]` by layer.

        Raises:
            ValueError: If a layer does not exist or the input has another shape.
        """
        blocks = self._blocks(layers)
        return self._run(x, blocks, blocks[-1] + 1)[1]

    def embed_masked(
        self, x: torch.Tensor, layers: Sequence[str], masked: float, generator: torch.Generator | None = None
    ) -> dict[str, torch.Tensor]:
        """The same of a random part of the patches, another one for every window, in evaluation too.

        Only that part is computed. Random patchout of training does not come on top.

        Args:
            x: As in `forward`.
            layers: Of `layer_names`.
            masked: Share of the patches that is left out.
            generator: Draws them; None: torch's default one.
        """
        rows, columns = grid_size(self.n_bands, self.stride_f), grid_size(x.shape[1], self.stride_t)
        blocks, kept = self._blocks(layers), self.patchout.sample_each(rows, columns, len(x), masked, generator)
        return self._run(x, blocks, blocks[-1] + 1, kept)[1]

    def forward_and_embed(self, x: torch.Tensor, layers: Sequence[str]) -> tuple[Outputs, dict[str, torch.Tensor]]:
        """Both from one pass; the last block computes CLS and DIST only if nobody reads its other tokens."""
        x, tokens = self._run(x, self._blocks(layers), self.depth)
        return self._classify(self.norm(x[:, :2])), tokens

    def embedding_shape(self, layer: str, item_shape: Sequence[int], frames: int | None = None) -> tuple[int, ...]:
        """`(3, dim)`."""
        return (len(self.token_names), self.dim)

    def describe_layer(self, layer: str) -> dict[str, Any]:
        """The number of the block, as stores have it since the first."""
        return {"block": self.layer_names.index(layer)}

    def macs(self, x_shape: Sequence[int], layer: str | None = None, training: bool = False) -> int:
        """By arithmetic, patchout included; see `models.maest.flops`."""
        blocks = None if layer is None else self.layer_names.index(layer) + 1
        return cost(self, x_shape[0], training, blocks).macs

    def prepared(self) -> MAEST:
        """For inference alone; see `models.maest.prepared`."""
        return prepare(self)

    def prepared_mixed(self, dtype: torch.dtype) -> MAEST:
        """The same with products of another type."""
        return prepare(self, dtype)

    def export_form(
        self, inputs: Inputs, layers: Sequence[str], frames: int | None = None, fused: bool = False
    ) -> ExportForm:
        """Of plain products, where a hop is half a frame of a mel front end; see `models.maest.export`."""
        frontend = inputs.frontend
        if inputs.audio or not isinstance(frontend, MelFrontEnd) or frontend.n_fft != 2 * frontend.hop:
            return super().export_form(inputs, layers, frames, fused)
        check_layers(self, layers)
        blocks = [self.layer_names.index(layer) for layer in layers]
        network = without_subnormals(copy.deepcopy(self))
        return AudioNetwork(network, frontend, inputs.mean, inputs.std, blocks, frames, fused=fused)

    def compile_parts(self, **options: Any) -> None:
        """Block by block; see `models.maest.compiled`."""
        compile_blocks(self, **options)

    def unused_heads(self) -> Sequence[nn.Module]:
        """The second head, where both tokens go to the first."""
        return () if self.distilled_type == "separated" else (self.head_dist,)

    def _blocks(self, layers: Sequence[str]) -> list[int]:
        wrong = [layer for layer in layers if layer not in self.layer_names]
        if wrong or not layers:
            raise ValueError(
                f"layers {list(layers)}: this network has {self.layer_names[0]} to {self.layer_names[-1]}, "
                f"name at least one"
            )
        return sorted({self.layer_names.index(layer) for layer in layers})

    def _run(
        self, x: torch.Tensor, blocks: Sequence[int], until: int, kept: Kept | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Output of the last of `until` blocks, and tokens of the blocks that are read."""
        x = self._tokenise(x, kept)
        tokens: dict[str, torch.Tensor] = {}
        for index in range(until):
            unread = index == self.depth - 1 and index not in blocks
            x = self.blocks[index](x, queries=2) if unread else self.blocks[index](x)
            if index in blocks:
                tokens[self.layer_names[index]] = torch.cat([x[:, :2], x[:, 2:].mean(dim=1, keepdim=True)], dim=1)
        return x, tokens

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        """CLS and DIST after the final norm, `[B, 2, dim]`."""
        x = self._tokenise(x)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, queries=2))

    def _classify(self, pair: torch.Tensor) -> Outputs:
        if self.distilled_type == "separated":
            return dict(zip(HEADS, (self.head(pair[:, 0]), self.head_dist(pair[:, 1])), strict=True))
        return self.head(pair.mean(dim=1))

    def _tokenise(self, x: torch.Tensor, kept: Kept | None = None) -> torch.Tensor:
        """Embeds the kept patches, by patchout if none are given, adds positions and puts CLS and DIST in front."""
        x = check_input(x, self.n_bands, self.max_frames).to(self.cls_token.dtype)
        rows, columns = grid_size(x.shape[1], self.stride_f), grid_size(x.shape[2], self.stride_t)
        kept = kept or self.patchout.sample(rows, columns, self.training)
        kept = None if kept is None else kept.to(x.device)
        spare = self.grid[1] - columns
        offset = int(torch.randint(spare + 1, ())) if self.training and spare else 0
        patches = cut_patches(x, self.stride_f, self.stride_t, kept)
        time = self.time_new_pos_embed[..., offset : offset + columns]
        positions = sum_positions(self.freq_new_pos_embed, time, kept)
        proj = self.patch_embed["proj"]
        patches = linear(patches, proj.weight.flatten(1), proj.bias) + positions
        special = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        special = special.to(patches.dtype).expand(len(x), -1, -1)
        return self.pos_drop(torch.cat([special, patches], dim=1))


def _check_settings(settings: dict[str, Any]) -> None:
    for name, least in {"n_classes": 0, **dict.fromkeys(("stride_f", "stride_t", "dim", "depth", "heads"), 1)}.items():
        if settings[name] < least:
            raise ValueError(f"{name}={settings[name]}: expected at least {least}")
    for name in ("n_bands", "n_frames"):
        if settings[name] < PATCH:
            raise ValueError(f"{name}={settings[name]}: expected at least {PATCH}, the size of one patch")
    for name in ("dropout", "attention_dropout", "stochastic_depth"):
        if not 0.0 <= settings[name] < 1.0:
            raise ValueError(f"{name}={settings[name]}: expected a rate of 0 <= rate < 1")
    MAEST.check(settings)
    if settings["distilled_type"] not in DISTILLED_TYPES:
        raise ValueError(f"distilled_type={settings['distilled_type']!r}: expected one of {', '.join(DISTILLED_TYPES)}")
    for name in ("time_positions", "n_classes_dist"):
        if settings[name] is not None and settings[name] < 1:
            raise ValueError(f"{name}={settings[name]}: expected at least 1, or None")
