"""What convolutional taggers share: blocks of layers, and a network that runs its layers one after the other.

The names of the layers are those of Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, so
that the weights they publish load as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from models.batch_norm import SmallBatchNorm
from models.errors import CheckpointError, InputError
from models.folding import conv_pool, fold
from models.frontends import FrontEnd, build
from models.fused_norms import conv_norm_pool, fusable
from models.fused_sums import add_branches
from models.initial_weights import State
from models.network import Network

Pair = int | tuple[int, int]
FILTERS = "spec.mel_scale.fb"  # of torchaudio's mel front end: bins by bands


class ConvBlock(nn.Module):
    """Convolution of 3 x 3, batch norm, ReLU, max-pooling.

    Attributes:
        folds: Convolutions by name, and the batch norm right behind each, for `models.folding.fold`.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        pool: Bands and frames that become one.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv": "bn"}

    def __init__(self, channels_in: int, channels: int, pool: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.pool = pool
        self.mp = nn.MaxPool2d(pool)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, pooled along the last two."""
        if fusable(x, self.conv, self.bn):
            return conv_norm_pool(x, self.conv, self.bn, self.pool)
        if isinstance(self.bn, nn.Identity):
            return conv_pool(x, self.conv, self.pool)
        return self.mp(self.bn(self.conv(x))).relu_()  # after pooling: the same, of fewer cells


class ResBlock(nn.Module):
    """Two convolutions of 3 x 3 with batch norm beside a third, which is the shortcut where the shape changes.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        stride: Of the first convolution and of the shortcut: bands and frames.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv_1": "bn_1", "conv_2": "bn_2", "conv_3": "bn_3"}

    def __init__(self, channels_in: int, channels: int, stride: Pair = 2) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1)
        self.bn_1 = nn.BatchNorm2d(channels)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn_2 = nn.BatchNorm2d(channels)
        self.reshapes = stride not in (1, (1, 1)) or channels_in != channels
        if self.reshapes:
            self.conv_3 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1)
            self.bn_3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, fewer bands and frames by the stride."""
        beside = (self.conv_3, self.bn_3) if self.reshapes else ()
        if fusable(x, self.conv_1, self.bn_1, self.conv_2, self.bn_2, *beside):
            first = add_branches([(self.conv_1, self.bn_1, x)])
            second = (self.conv_2, self.bn_2, first)
            return add_branches([second, (*beside, x)]) if beside else add_branches([second], x)
        shortcut = self.bn_3(self.conv_3(x)) if beside else x
        x = self.bn_1(self.conv_1(x)).relu_()
        return self.bn_2(self.conv_2(x)).add_(shortcut).relu_()


class Tagger(Network):
    """Layers that run one after the other, and a classifier of what the last of them gives.

    A subclass makes the modules that `layer_names` names, in the order in which they run, and `spec_bn`, or defines a
    `stem` of its own. It defines `classify` and, where others publish weights of more sizes, `published_arguments`.

    Attributes:
        rebuilt: Beginnings of the names of tensors in published files that belong to the front end, which is built
            anew.
        within: Layers by the names of modules that are part of them, where these have names of their own.
        min_bands: Fewest bands of its front end; 0 where it has none.
        stages: Numbers that its argument `channels` has; 0 where it has no such argument.
        compiled_layers: `run_layers` as `embed` calls it, where it is compiled.
    """

    frontend = "mel_db"
    input = "audio"
    coverage = "spread"
    rebuilt: ClassVar[tuple[str, ...]] = ("spec.",)
    within: ClassVar[Mapping[str, str]] = {}
    min_bands: ClassVar[int] = 0
    stages: ClassVar[int] = 0
    compiled_layers: Callable[..., dict[str, Tensor]] | None = None

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """As many channels as stages, each number at least 1."""
        channels = arguments["channels"] if cls.stages else ()
        if len(channels) != cls.stages or min(channels, default=1) < 1:
            raise ValueError(f"channels={list(channels)}: expected {cls.stages} numbers of at least 1")

    def make_stages(self, blocks: Iterable[Callable[[int, int], nn.Module]], channels: Sequence[int]) -> int:
        """Makes `spec_bn` and the first layers.

        Args:
            blocks: One for each of `channels`: channels of its input and of its output to a layer.
            channels: Of the outputs.

        Returns:
            Channels of the last one's output.
        """
        self.spec_bn = nn.BatchNorm2d(1)
        width = 1
        for name, block, wider in zip(self.layer_names[: len(channels)], blocks, channels, strict=True):
            setattr(self, name, block(width, wider))
            width = wider
        return width

    def stem(self, x: Tensor) -> Any:
        """Frames `[batch, frames, bands]` to the input of the first layer, `[batch, 1, bands, frames]`, normalised."""
        return self.spec_bn(x.transpose(1, 2)[:, None])

    def classify(self, cells: Tensor) -> Tensor:
        """Output of the last layer, `[batch, channels, ...]`, to logits `[batch, n_classes]`."""
        raise NotImplementedError

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes.

        Raises:
            InputError: The front end has too few bands.
        """
        bands = math.prod(frontend.item_shape)
        if bands < cls.min_bands:
            raise InputError(
                f"model.frontend={frontend.name} makes {bands} bands, the network {cls.name} needs at least "
                f"{cls.min_bands}: leave model.frontend out, or name another one"
            )
        return super().derive(frontend, frames, n_classes)

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of the constructor by the shapes of tensors, whose names are those of this class.

        Every vector of a layer is as long as the layer has channels.
        """
        widths = {key.partition(".")[0]: len(tensor) for key, tensor in state.items() if tensor.ndim == 1}
        channels = {"channels": [widths[name] for name in cls.layer_names[: cls.stages]]} if cls.stages else {}
        return {"n_classes": len(state[f"{cls.head_prefixes[0]}weight"]), **channels}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of Won et al.; what their files hold of the front end is built anew, with as many bands."""
        own = {key: tensor for key, tensor in state.items() if not key.startswith(cls.rebuilt)}
        with torch.device("meta"):
            expected = cls().state_dict()
        if own.keys() != expected.keys() or any(own[key].ndim != tensor.ndim for key, tensor in expected.items()):
            return None
        return cls.published_arguments(own), own, cls._published_frontend(state)

    @classmethod
    def _published_frontend(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The front end as metadata, where the matrix of its bands is there; old versions of torchaudio left it out.

        Raises:
            CheckpointError: It makes other bands than ours.
        """
        matrix = state.get(FILTERS)
        if matrix is None or not matrix.numel():
            return {}
        frontend = build(cls.frontend, **{**cls.frontend_arguments, "bands": matrix.shape[-1]})
        ours = frontend.filters
        if matrix.shape != ours.shape or not torch.allclose(matrix.float(), ours, atol=1e-3):
            raise CheckpointError(
                f"{FILTERS} of shape {list(matrix.shape)}: expected the {len(ours)} bins and HTK bands of audio at "
                f"{frontend.sample_rate} Hz, with which the published networks of this layout were trained"
            )
        return {"frontend": frontend.description}

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[batch, n_classes]` of frames `[batch, frames, *item_shape]`."""
        last = self.layer_names[-1]
        return self.classify(self.run_layers(x, [last])[last])

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Tokens of what layers give, by name."""
        run = self.compiled_layers or type(self).run_layers
        return {name: self.tokens(cells) for name, cells in run(self, x, layers).items()}

    def forward_and_embed(self, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Both from one pass."""
        last = self.layer_names[-1]
        cells = self.run_layers(x, [*layers, last])
        return self.classify(cells[last]), {name: self.tokens(cells[name]) for name in layers}

    def tokens(self, cells: Any) -> Tensor:
        """What a layer gives to `[batch, tokens, channels]`: the mean over everything but channels is the one token."""
        return pooled(cells)

    def run_layers(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """What layers give, `[batch, channels, ...]` by name; none behind the last of them is computed.

        Raises:
            ValueError: Fewer frames than `min_frames`.
        """
        self.check_frames(x)
        x, kept = self.stem(x), {}
        for name in self.layers_up_to(layers):
            x = self.layer(name)(x)
            if name in layers:
                kept[name] = x
        return kept

    def layer(self, name: str) -> Callable[[Any], Any]:
        """The module, or method, of a layer."""
        return getattr(self, name)

    def check_frames(self, x: Tensor) -> None:
        """Refuse fewer frames than `min_frames`.

        Raises:
            ValueError: Names the shape.
        """
        if x.ndim < 2 or x.shape[1] < self.min_frames:
            raise ValueError(
                f"got shape {list(x.shape)}: expected [batch, frames, ...], frames at least {self.min_frames}"
            )

    def layers_up_to(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Names of all layers from the input to the last of some."""
        return self.layer_names[: 1 + max(map(self.layer_names.index, layers))]

    def compile_parts(self, **options: Any) -> None:
        """Besides, what `embed` runs, which is no call of the module; a copy of the network has it with its weights."""
        super().compile_parts(**options)
        self.compiled_layers = torch.compile(type(self).run_layers, **options)

    def prepared(self) -> Self:
        """With batch norm folded into the convolutions, and their channels last in memory; equal up to rounding."""
        return fold(super().prepared())

    def parameter_layers(self) -> list[list[str]]:
        """The stem, every layer, the classifier."""
        depth = {name: number for number, name in enumerate(self.layer_names, start=1)}
        layers: list[list[str]] = [[] for _ in range(len(depth) + 2)]
        for name, _ in self.named_parameters():
            heads = len(layers) - 1 if name.startswith(self.head_prefixes) else 0
            module = name.partition(".")[0]
            layers[depth.get(self.within.get(module, module), heads)].append(name)
        return layers


class HiddenLayerTagger(Tagger):
    """A tagger with a hidden layer, `penultimate`, before the classifier.

    A subclass calls `make_head` in its constructor, has `penultimate` as the last of its `layer_names`, and defines
    `summary`.
    """

    head_prefixes = ("dense2.",)
    within: ClassVar[Mapping[str, str]] = {"dense1": "penultimate", "bn": "penultimate"}

    def make_head(self, width: int, hidden: int, n_classes: int, dropout: float) -> None:
        """Linear layer, batch norm and ReLU, dropout, linear layer.

        Args:
            width: Of what `summary` gives.
            hidden: Of the hidden layer.
            n_classes: Number of logits.
            dropout: Rate before the last layer.
        """
        self.dense1 = nn.Linear(width, hidden)
        self.bn = SmallBatchNorm(hidden)
        self.dense2 = nn.Linear(hidden, n_classes)
        self.dropout = nn.Dropout(dropout)

    def summary(self, cells: Tensor) -> Tensor:
        """Output of the layers, `[batch, channels, ...]`, to one vector each, `[batch, width]`."""
        raise NotImplementedError

    def penultimate(self, cells: Tensor) -> Tensor:
        """Output of the layers to the hidden layer, `[batch, hidden, 1]`."""
        return torch.relu(self.bn(self.dense1(self.summary(cells))))[..., None]

    def classify(self, cells: Tensor) -> Tensor:
        """The hidden layer to logits."""
        return self.dense2(self.dropout(cells[..., 0]))


def pooled(cells: Tensor) -> Tensor:
    """`[batch, channels, ...]` to the mean over all behind the channels, `[batch, 1, channels]`."""
    return cells.flatten(2).mean(2)[:, None]
