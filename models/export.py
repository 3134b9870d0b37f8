"""A network that takes audio, as one module that can be written for other programs: front end, normalisation, network.

Every network has the plain form; a network with a better one gives it by `Network.export_form`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ExportError
from models.inputs import Inputs
from models.kernels.subnormals import without_subnormals
from models.outputs import main_head

NAMES = ("logits", "embeddings")
REPRESENTATION = ("representation",)  # of an encoder alone


class ExportForm(nn.Module):
    """Audio to logits and embeddings, in evaluation, without gradients.

    Attributes:
        samples: Of a window of audio.
        step: Other lengths are multiples of it.
        shortest: Samples of the shortest window, where any length can be had.
        longest: Samples of the longest; None where there is no limit.
        rounded: How the names of the products begin that may be done in 8 bits; empty where none may.
        names: Of what `forward` returns.
    """

    samples: int
    step: int = 1
    shortest: int = 1
    longest: int | None = None
    rounded: str = ""
    names: tuple[str, ...] = NAMES

    def forward(self, audio: Tensor) -> tuple[Tensor, ...]:
        """What the network makes of windows of audio.

        Args:
            audio: `[batch, samples]` float32, mono at the rate of the front end, full scale 1.

        Returns:
            Logits `[batch, classes]` of the main head, and embeddings `[batch, layers, tokens, dim]`.
        """
        return self.of_frames(self.frames_of(audio))

    def frames_of(self, audio: Tensor) -> Tensor:
        """The first half of `forward`: audio to frames of the front end, not yet normalised."""
        raise NotImplementedError

    def of_frames(self, frames: Tensor) -> tuple[Tensor, ...]:
        """The second half of `forward`, from normalisation on."""
        raise NotImplementedError

    def check_lengths(self) -> None:
        """Refuse to take windows of other lengths.

        Raises:
            ExportError: It takes one length alone; says why.
        """

    def example(self, any_length: bool) -> Tensor:
        """Audio to trace the module with: two windows."""
        return torch.zeros(2, self.samples // self.step * self.step if any_length else self.samples)

    def free_axes(self, any_length: bool) -> dict[int, Any]:
        """Which axes of the audio may have other lengths where a program is traced: the batch, and perhaps the samples.

        Args:
            any_length: Take windows of every multiple of `step` samples; otherwise of `samples` alone.

        Raises:
            ExportError: It takes one length alone.
        """
        axes: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
        if any_length:
            self.check_lengths()
            most = None if self.longest is None else self.longest // self.step
            axes[1] = self.step * torch.export.Dim("frames", min=-(-self.shortest // self.step), max=most)
        return axes


class PlainForm(ExportForm):
    """The form of any network: its front end in exportable form, then the network as it is.

    Args:
        network: A `Network`; copied.
        inputs: Front end and normalisation; `audio` says whether windows are cut from audio or from features.
        layers: Whose tokens are wanted, in the order of the output.
        frames: Of a window; None for the network's own.

    Raises:
        ExportError: No layers or unknown ones, layers whose tokens do not fit into one array, or a length that the
            network does not take.
    """

    def __init__(self, network: nn.Module, inputs: Inputs, layers: Sequence[str], frames: int | None = None) -> None:
        super().__init__()
        check_layers(network, layers)
        frontend = inputs.frontend
        self.cut, self.layers = not inputs.audio, list(layers)
        self.mean, self.std, self.step = inputs.mean, inputs.std, frontend.hop
        self.samples = window_samples(network, inputs, frames)
        self.shortest = max(self._audio_of(frontend, network.min_frames), frontend.min_samples)
        self.longest = None if network.max_frames is None else self._audio_of(frontend, network.max_frames)
        self.fixed = network.fixed_window
        self.frontend, self.network = copy.deepcopy(frontend).exportable(), without_subnormals(copy.deepcopy(network))
        self.eval().requires_grad_(False)
        check_shapes(self)

    def frames_of(self, audio: Tensor) -> Tensor:
        """See `ExportForm`; of windows that are cut from features as many frames as there are hops."""
        x = self.frontend(audio)
        return x[:, : audio.shape[1] // self.step] if self.cut else x

    def of_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `ExportForm`."""
        logits, tokens = self.network.forward_and_embed(self.normalised(frames), self.layers)
        return main_head(logits), torch.stack([tokens[layer] for layer in self.layers], 1)

    def check_lengths(self) -> None:
        """Refuse other lengths than that of a network with a fixed window."""
        if self.fixed:
            raise ExportError(f"this network takes windows of {self.samples} samples alone: leave any_length out")

    def normalised(self, frames: Tensor) -> Tensor:
        """What the network sees."""
        return (frames - self.mean) / (2 * self.std)

    def _audio_of(self, frontend: nn.Module, frames: int) -> int:
        return frames * frontend.hop if self.cut else frontend.n_samples(frames)


class EncoderForm(ExportForm):
    """The form of a network without outputs: audio `[batch, samples]` to the tokens of one layer.

    `forward` returns `representation`, `[batch, dim]` of a layer with one token and `[batch, tokens, dim]` of others.

    Args:
        form: Of the network, with the layer that is wanted.

    Raises:
        ExportError: Several layers.
    """

    names = REPRESENTATION

    def __init__(self, form: ExportForm, layers: Sequence[str]) -> None:
        super().__init__()
        if len(layers) > 1:
            raise ExportError(f"layers {list(layers)}: of a network without outputs one is exported at a time")
        self.form = form
        self.samples, self.step, self.shortest, self.longest = form.samples, form.step, form.shortest, form.longest
        self.rounded = form.rounded

    def frames_of(self, audio: Tensor) -> Tensor:
        """As the form."""
        return self.form.frames_of(audio)

    def of_frames(self, frames: Tensor) -> tuple[Tensor]:
        """As described by `EncoderForm`."""
        return (representation(self.form.of_frames(frames)[1]),)

    def check_lengths(self) -> None:
        """As the form."""
        self.form.check_lengths()


def representation(embeddings: Tensor) -> Tensor:
    """Of embeddings `[batch, 1, tokens, dim]` of one layer: `[batch, tokens, dim]`, or `[batch, dim]` of one token."""
    tokens = embeddings[:, 0]
    return tokens[:, 0] if tokens.shape[1] == 1 else tokens


def check_layers(network: nn.Module, layers: Sequence[str]) -> None:
    """Refuse layers that a network does not have.

    Raises:
        ExportError: One is unknown or named twice, or there are none.
    """
    if not layers or set(layers) - set(network.layer_names) or len(set(layers)) < len(layers):
        raise ExportError(f"layers {list(layers)}: expected some of {', '.join(network.layer_names)}, each once")


def check_frames(network: nn.Module, frames: int) -> int:
    """The frames of a window, if the network takes them.

    Raises:
        ExportError: They are too few or too many.
    """
    most = network.max_frames
    if frames < network.min_frames or (most is not None and frames > most):
        takes = f"{network.min_frames} or more" if most is None else f"{network.min_frames} to {most}"
        raise ExportError(f"windows of {frames} frames: this network takes {takes}")
    return frames


def window_samples(network: nn.Module, inputs: Inputs, frames: int | None) -> int:
    """Samples of a window.

    Args:
        network: Its own length is taken where none is given.
        inputs: Windows that are cut from features have `frames * hop` samples, which is what a file of that length is
            predicted from; windows of audio those that make the frames.
        frames: Of a window; None for the network's own.

    Raises:
        ExportError: The network has no length of its own, or does not take this one.
    """
    frontend = inputs.frontend
    if inputs.audio and network.window_samples and frames is None:
        return network.window_samples
    if frames is None:
        frames = network.window
    if frames is None and network.seconds:
        frames = int(network.seconds * frontend.frame_rate)
    if frames is None:
        raise ExportError(f"the network {network.name} takes windows of any length: give the length to export")
    check_frames(network, frames)
    return network.samples_of(frontend, frames) if inputs.audio else frames * frontend.hop


def example(clips: int, samples: int, sample_rate: int) -> Tensor:
    """Audio with silence, noise and tones that decay, the same every time: `[clips, samples]`."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(samples) / sample_rate
    noise = torch.randn(clips, samples, generator=generator)
    tone = torch.sin(2 * math.pi * 220 * time * torch.arange(1, clips + 1)[:, None])
    decay = torch.exp(-4 * (time % 0.5))
    return 0.3 * decay * tone + 0.02 * noise * (time % 2 < 1.5)


def check_shapes(form: PlainForm) -> None:
    """Run a window through the network, and refuse layers whose tokens do not fit into one array.

    Raises:
        ExportError: It names the layers that can go together.
    """
    with torch.no_grad():
        frames = form.frames_of(torch.zeros(1, form.samples))
        tokens = form.network.embed(form.normalised(frames), form.layers)
    shapes = {layer: tuple(tokens[layer].shape[1:]) for layer in form.layers}
    if len(set(shapes.values())) > 1:
        alike = [[layer for layer in form.layers if shapes[layer] == shape] for shape in dict.fromkeys(shapes.values())]
        listed = ", ".join(f"{layer} {list(shape)}" for layer, shape in shapes.items())
        raise ExportError(
            f"tokens of these layers have different shapes ({listed}): export those of one shape at a time, "
            f"{' or '.join(' and '.join(group) for group in alike)}"
        )
