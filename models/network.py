"""What every network is: frames in, logits and tokens out, and what the rest of the suite has to know about it.

A network of one's own is a subclass with a constructor of plain keyword arguments, `forward` and `embed`:

    class Small(Network):
        layer_names = ("hidden",)

        def __init__(self, n_classes: int, width: int = 64) -> None: ...
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from models.errors import CheckpointError, ExportError
from models.export import ExportForm, PlainForm
from models.frontends.base import FrontEnd
from models.initial_weights import Labels, LoadReport, State, fit_by_name
from models.inputs import Inputs
from models.kernels.subnormals import without_subnormals
from models.named import Named
from models.outputs import Outputs, main_head

__all__ = ["Network", "Outputs", "main_head"]

warnings.filterwarnings("ignore", "Initializing zero-element tensors", UserWarning)  # heads of networks without outputs


class Network(Named):
    """Frames `[batch, frames, *item_shape]` of its front end, normalised, to logits and to tokens by layer.

    Attributes:
        frontend: Name or class of the front end it is made for, unless a setting says otherwise.
        frontend_arguments: Of that front end.
        input: What it is trained from unless a setting says otherwise: stored features, or stored audio with the front
            end computed on the device.
        derived: Arguments of the constructor that follow from data and front end, so that they are no settings.
        adjustable: Arguments that change no weight, so that they may differ from those of a checkpoint's training.
        seconds: Length of its windows where no setting says otherwise; None where `window_samples` says it.
        window_samples: The same in samples, where it is no whole number of frames.
        fixed_window: Whether it takes windows of that length alone.
        coverage: How a track is cut where no setting says otherwise: into consecutive windows, of which a rest of less
            than nine tenths of one is left out, or into as few as cover it, spread evenly; that of a network over time
            is into windows that overlap by their margins, to the end.
        over_time: Whether outputs are `[batch, steps, n_classes]`, one a step, not one a window.
        pool: Frames that become one step of such an output, those left at the end none.
        margin: Frames at both ends of a window whose steps see too little of what is around them: those of a
            neighbouring window are taken where there is one.
        window: Frames of the windows it is made for; None where any length will do.
        min_frames: Shortest input.
        max_frames: Longest input; None where there is no limit.
        layer_names: Layers whose tokens can be had, from the input on.
        token_names: What the tokens of a layer are.
        default_layer: The layer whose tokens are taken where none is named.
        head_prefixes: Beginnings of the names of parameters that belong to its classifiers.
        head_arguments: Arguments that change the classifiers alone.
        inherited: Arguments in `derived` that it takes over from a checkpoint that it starts from.
        starts_from: Names of other networks whose weights it can start from.
        n_classes: Number of logits; 0 of a network that was trained without labels, whose heads are empty.
    """

    frontend: ClassVar[str | type[FrontEnd]] = "musicnn"
    frontend_arguments: ClassVar[Mapping[str, Any]] = {}
    input: ClassVar[Literal["features", "audio"]] = "features"
    derived: ClassVar[tuple[str, ...]] = ("n_classes",)
    adjustable: ClassVar[tuple[str, ...]] = ()
    seconds: ClassVar[float | None] = None
    window_samples: ClassVar[int | None] = None
    fixed_window: ClassVar[bool] = False
    coverage: ClassVar[Literal["consecutive", "spread"]] = "consecutive"
    over_time: ClassVar[bool] = False
    pool: int = 1
    margin: int = 0
    window: int | None = None
    min_frames: int = 1
    max_frames: int | None = None
    layer_names: tuple[str, ...] = ()
    token_names: tuple[str, ...] = ("mean",)
    head_prefixes: ClassVar[tuple[str, ...]] = ("head.",)
    head_arguments: ClassVar[tuple[str, ...]] = ("n_classes",)
    inherited: ClassVar[tuple[str, ...]] = ()
    starts_from: ClassVar[tuple[str, ...]] = ()
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

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """What weights in a layout that others publish are of, if that is a network of this class.

        Args:
            state: Tensors by name, of a file that does not describe its network.

        Returns:
            Arguments of the constructor, the tensors under the names of this class (those of a front end with
            parameters under `frontend.`), and what else is known (`labels`, `frontend`, ...); None for weights of
            anything else.
        """
        return None

    def fit_weights(
        self,
        source: Mapping[str, Tensor],
        name: str,
        *,
        discard_head: bool = False,
        absent: Sequence[str] = (),
        labels: Labels | None = None,
        positions: str = "stretch",
        missing_blocks: str = "refuse",
    ) -> tuple[State, LoadReport]:
        """A complete state for this network from weights to start from, and what became of every tensor.

        By name and shape, unless a class knows better; only the heads may have another number of classes.

        Args:
            source: Tensors under the names of this class, or of its published layout.
            name: What to call them in messages.
            discard_head: Take nothing that belongs to the heads.
            absent: Beginnings of names that the source's layout has no place for; such tensors keep their values.
            labels: Names of the source's classes and of this network's, where both are known.
            positions: A rule for networks with positions along time.
            missing_blocks: A rule for networks of blocks.

        Raises:
            CheckpointError: They do not fit, or a rule is given that means nothing here.
        """
        rules = {"positions": (positions, "stretch"), "missing_blocks": (missing_blocks, "refuse")}
        for setting, (value, usual) in rules.items():
            if value != usual:
                raise CheckpointError(f"{setting}={value!r} means nothing to the network {self.name}; leave it out")
        published = self.from_published(source)
        if published is not None:
            source = {key: tensor for key, tensor in published[1].items() if not key.startswith("frontend.")}
        return fit_by_name(source, self.state_dict(), name, self.head_prefixes, discard_head, absent, labels)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that do not go together, before anything is computed.

        Args:
            arguments: Those of the constructor that are not in `derived`, each of the type that it has there.

        Raises:
            ValueError: Names them.
        """

    @property
    def default_layer(self) -> str:
        """The last layer."""
        return self.layer_names[-1]

    @property
    def output_layer(self) -> nn.Module:
        """The only or the first head, a module that is called once in a pass."""
        return self.get_submodule(self.head_prefixes[0].removesuffix("."))

    def unpadded(self, frames: int) -> int | None:
        """How many frames it takes of a track that is shorter than a window, without padding; None: it is padded.

        Raises:
            ValueError: It can see nothing in so few frames.
        """
        return None

    def samples_of(self, frontend: FrontEnd, frames: int) -> int:
        """Samples of a window of so many frames: `window_samples` where they make as many, else the fewest that do."""
        own = self.window_samples
        return own if own and frontend.n_frames(own) == frames else frontend.n_samples(frames)

    def forward(self, x: Tensor) -> Outputs:
        """Logits of a batch `[batch, frames, *item_shape]`."""
        raise NotImplementedError

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Tokens `[batch, tokens, dim]` of layers, by name; what comes after the last of them need not be computed."""
        raise NotImplementedError

    def forward_and_embed(self, x: Tensor, layers: Sequence[str]) -> tuple[Outputs, dict[str, Tensor]]:
        """Both, in one pass where the network can do so."""
        return self(x), self.embed(x, layers)

    def embedding_shape(self, layer: str, item_shape: Sequence[int], frames: int | None = None) -> tuple[int, ...]:
        """`(tokens, dim)` of a layer, found by a pass.

        Args:
            layer: Of `layer_names`.
            item_shape: Of a frame.
            frames: Of the input, on which the tokens of some layers depend; None: the shortest.
        """
        x = torch.zeros(1, frames or self.min_frames, *item_shape, device=next(self.parameters()).device)
        training = self.training
        try:
            with torch.no_grad():
                return tuple(self.eval().embed(x, [layer])[layer].shape[1:])
        finally:
            self.train(training)

    def macs(self, x_shape: Sequence[int], layer: str | None = None, training: bool = False) -> int:
        """Multiply-accumulates of one window, counted by torch as it runs on no data.

        Args:
            x_shape: `[frames, *item_shape]`.
            layer: Nothing runs after it; None runs to the logits.
            training: Whether what is left out in training alone counts as left out.
        """
        from torch.utils.flop_counter import FlopCounterMode  # takes a while, and few ask

        shadow = copy.deepcopy(self).to("meta").train(False)
        x = torch.zeros(1, *x_shape, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            shadow(x) if layer is None else shadow.embed(x, [layer])
        return counter.get_total_flops() // 2

    def prepared(self) -> Network:
        """A copy for inference only: evaluation, no gradients; it need not be able to be trained or saved."""
        return without_subnormals(copy.deepcopy(self).eval().requires_grad_(False))

    def prepared_mixed(self, dtype: torch.dtype) -> Network:
        """The same for products of another type on a CPU, under autocast; itself where nothing is gained."""
        return self

    def export_form(
        self, inputs: Inputs, layers: Sequence[str], frames: int | None = None, fused: bool = False
    ) -> ExportForm:
        """Front end, normalisation and network as one module that can be written for other programs.

        Args:
            inputs: Front end and normalisation.
            layers: Whose tokens are wanted.
            frames: Of a window; None for the network's own.
            fused: With operations that onnxruntime alone has, as its 8-bit form takes them.

        Raises:
            ExportError: There is no such form; says what there is.
        """
        if fused:
            raise ExportError(f"the network {self.name} has no 8-bit form: export it with int8=False")
        return PlainForm(self, inputs, layers, frames)

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
