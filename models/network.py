"""What every network is: frames in, logits and tokens out, and what the rest of the suite has to know about it.

A network of one's own is a subclass with a constructor of plain keyword arguments, `forward` and `embed`:

    class Small(Network):
        layer_names = ("hidden",)

        def __init__(self, n_classes: int, width: int = 64) -> None: ...
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.frontends.base import FrontEnd
from models.named import Named

Outputs = Tensor | dict[str, Tensor]  # logits `[batch, n_classes]`, or those of several heads by name, main one first


def main_head(outputs: Outputs) -> Tensor:
    """Logits of the only or the first head."""
    return outputs if isinstance(outputs, Tensor) else next(iter(outputs.values()))


class Network(Named):
    """Frames `[batch, frames, *item_shape]` of its front end, normalised, to logits and to tokens by layer.

    Attributes:
        frontend: Name or class of the front end it is made for, unless a setting says otherwise.
        frontend_arguments: Of that front end.
        input: What it is trained from unless a setting says otherwise: stored features, or stored audio with the front
            end computed on the device.
        derived: Arguments of the constructor that follow from data and front end, so that they are no settings.
        seconds: Length of its windows where no setting says otherwise; None where `window_samples` says it.
        window_samples: The same in samples, where the length is part of the network.
        window: Frames of the windows it is made for; None where any length will do.
        min_frames: Shortest input.
        max_frames: Longest input; None where there is no limit.
        layer_names: Layers whose tokens can be had, from the input on.
        token_names: What the tokens of a layer are.
        default_layer: The layer whose tokens are taken where none is named.
        n_classes: Number of logits.
    """

    frontend: ClassVar[str | type[FrontEnd]] = "musicnn"
    frontend_arguments: ClassVar[Mapping[str, Any]] = {}
    input: ClassVar[Literal["features", "audio"]] = "features"
    derived: ClassVar[tuple[str, ...]] = ("n_classes",)
    seconds: ClassVar[float | None] = None
    window_samples: ClassVar[int | None] = None
    window: int | None = None
    min_frames: int = 1
    max_frames: int | None = None
    layer_names: tuple[str, ...] = ()
    token_names: tuple[str, ...] = ("mean",)
    n_classes: int

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """The arguments in `derived`.

        Args:
            frontend: What makes its input.
            frames: Of a window.
            n_classes: Number of logits.
        """
        return {"n_classes": n_classes}

    @property
    def default_layer(self) -> str:
        """The last layer."""
        return self.layer_names[-1]

    def forward(self, x: Tensor) -> Outputs:
        """Logits of a batch `[batch, frames, *item_shape]`."""
        raise NotImplementedError

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Tokens `[batch, tokens, dim]` of layers, by name; what comes after the last of them need not be computed."""
        raise NotImplementedError

    def forward_and_embed(self, x: Tensor, layers: Sequence[str]) -> tuple[Outputs, dict[str, Tensor]]:
        """Both, in one pass where the network can do so."""
        return self(x), self.embed(x, layers)

    def embedding_shape(self, layer: str, item_shape: Sequence[int]) -> tuple[int, ...]:
        """`(tokens, dim)` of a layer, found by a pass through the shortest input."""
        device = next(self.parameters()).device
        frames = max(self.min_frames, 1)
        with torch.no_grad():
            return tuple(
                self.eval().embed(torch.zeros(1, frames, *item_shape, device=device), [layer])[layer].shape[1:]
            )

    def macs(self, x_shape: Sequence[int], layer: str | None = None, training: bool = False) -> int:
        """Multiply-accumulates of one window, counted by torch as it runs on no data.

        Args:
            x_shape: `[frames, *item_shape]`.
            layer: Nothing runs after it; None runs to the logits.
            training: Whether what is left out in training alone counts as left out.
        """
        shadow = copy.deepcopy(self).to("meta").train(False)
        x = torch.zeros(1, *x_shape, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            shadow(x) if layer is None else shadow.embed(x, [layer])
        return counter.get_total_flops() // 2

    def prepared(self) -> Network:
        """A copy for inference only: evaluation, no gradients; it need not be able to be trained or saved."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def compile_parts(self, **options: Any) -> None:
        """Have the network compiled by `torch.compile` when it is first called, in place."""
        self.compile(**options)

    def parameter_layers(self) -> list[list[str]]:
        """Names of all parameters by depth: what comes before the blocks, each block, the heads.

        Empty where a network does not say; then it can neither be frozen in part nor have rates by layer.
        """
        return []

    def no_weight_decay(self) -> tuple[str, ...]:
        """Names of parameters besides biases and norms that a recipe may exempt from weight decay."""
        return ()

    def unused_heads(self) -> Sequence[nn.Module]:
        """Parts that no loss reaches in this configuration."""
        return ()

    def describe_layer(self, layer: str) -> dict[str, Any]:
        """What a store of its tokens says of the layer."""
        return {"layer": layer, "token_names": list(self.token_names)}
