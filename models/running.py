"""A network made to run: on a device, in a precision, over batches of windows, which tracks share."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from models.attention import prefer
from models.errors import InputError
from models.inputs import Inputs
from models.network import Network, main_head
from models.open_track import OpenTrack

MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
Forward = Callable[[Network, Tensor], Sequence[Tensor]]  # a network and its normalised input to tensors [batch, ...]
_made_once = threading.Lock()


@dataclass(frozen=True)
class Runtime:
    """On what a network runs, and how.

    Attributes:
        device: `auto` is CUDA where there is one.
        precision: `32-true`, `bf16-mixed` or `16-mixed`; `auto` is bf16-mixed on CUDA.
        attention: Kernel that is tried first, of `models.attention.KERNELS`.
        threads: Of torch on a CPU; None leaves them as they are.
    """

    device: str | torch.device = "auto"
    precision: str = "auto"
    attention: str | None = None
    threads: int | None = None

    @property
    def torch_device(self) -> torch.device:
        """Where it runs."""
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def mixed(self) -> torch.dtype | None:
        """Type of most products; None for float32.

        Raises:
            InputError: float16 on a CPU, or there is no such precision.
        """
        on_cuda = self.torch_device.type == "cuda"
        if self.precision not in ("auto", "32-true", *MIXED):
            raise InputError(f"precision={self.precision}: give auto, 32-true, {' or '.join(MIXED)}")
        mixed = MIXED.get("bf16-mixed" if self.precision == "auto" and on_cuda else self.precision)
        if mixed is torch.float16 and self.torch_device.type == "cpu":
            raise InputError("precision=16-mixed: float16 is not for a CPU; take bf16-mixed or auto")
        return mixed


def logits_of(network: Network, x: Tensor) -> tuple[Tensor]:
    """Logits of the only or the first head."""
    return (main_head(network(x)),)


def head_inputs_of(network: Network, x: Tensor) -> tuple[Tensor]:
    """What the only or the first head sees."""
    seen: list[Tensor] = []
    hook = network.output_layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        network(x)
    finally:
        hook.remove()
    return (seen[0],)


def tokens_of(network: Network, x: Tensor, layers: Sequence[str]) -> list[Tensor]:
    """Tokens of some layers, in this order."""
    tokens = network.embed(x, layers)
    return [tokens[layer] for layer in layers]


@dataclass
class Runner:
    """A function of the network over batches of windows, without gradients.

    The network is put on its device and made ready where it is first called, so that this can be sent to another
    process or machine.

    Args:
        network: Left as it is, but for its device.
        inputs: Makes its input.
        runtime: Where and how it runs.
        forward: What is computed.
        dtype: Of the results.
        prepared_by: Another one for the same network, whose prepared copy of it this one uses too.
    """

    network: Network
    inputs: Inputs
    runtime: Runtime
    forward: Forward
    dtype: torch.dtype = torch.float32
    prepared_by: Runner | None = None

    def __call__(self, windows: Tensor | np.ndarray) -> list[np.ndarray]:
        """Windows `[batch, rows, ...]`, features of any floating type or audio, to arrays `[batch, ...]`."""
        with _made_once:
            network, inputs = self._ready
        device, mixed = self.runtime.torch_device, self.runtime.mixed
        with torch.inference_mode(), prefer(self.runtime.attention):
            x = inputs(torch.as_tensor(windows).to(device, non_blocking=True))
            with torch.autocast(device.type, mixed) if mixed else contextlib.nullcontext():
                outputs = self.forward(network, x)
        return [one.cpu().to(self.dtype).numpy() for one in outputs]

    def computing(self, forward: Forward) -> Runner:
        """One that computes another function of the same network, which both keep in memory only once."""
        return replace(self, forward=forward, prepared_by=self.prepared_by or self)

    @cached_property
    def _ready(self) -> tuple[Network, Inputs]:
        if self.prepared_by is not None:
            return self.prepared_by._ready
        if self.runtime.threads is not None:
            torch.set_num_threads(self.runtime.threads)
        device = self.runtime.torch_device
        network = self.network.to(device)
        if (mixed := self.runtime.mixed) is None:
            network = network.prepared()
        elif device.type == "cpu":
            network = network.prepared_mixed(mixed)
        return network, copy.deepcopy(self.inputs).to(device).eval()


def in_batches(
    tracks: Iterable[OpenTrack], run_batch: Callable[[Tensor], list[np.ndarray]], batch_size: int
) -> Iterator[OpenTrack]:
    """Run windows of one length together, whichever tracks they are of; yields every track when it is through.

    Args:
        tracks: Opened one after another, so that memory is bounded by a few batches.
        run_batch: Windows `[batch, rows, ...]` to arrays `[batch, ...]`, one for each output.
        batch_size: Windows at once.

    Yields:
        Tracks with their `outputs`: for every window a list of arrays, one for each output.
    """
    waiting: defaultdict[int, list[tuple[OpenTrack, int]]] = defaultdict(list)
    for track in tracks:
        for number in range(len(track.windows)):
            queue = waiting[track.length]
            queue.append((track, number))
            if len(queue) == batch_size:
                yield from _through(queue, run_batch)
    for queue in waiting.values():
        yield from _through(queue, run_batch)


def _through(
    queue: list[tuple[OpenTrack, int]], run_batch: Callable[[Tensor], list[np.ndarray]]
) -> Iterator[OpenTrack]:
    """Run what waits, and empty the queue."""
    batch, queue[:] = list(queue), []
    if not batch:
        return
    windows = torch.from_numpy(np.stack([track.windows[number] for track, number in batch]))
    outputs = run_batch(windows)
    for (track, number), *values in zip(batch, *outputs, strict=True):
        track.outputs[number] = values
        track.windows[number] = None  # memory of long tracks goes with their windows
        track.left -= 1
        if not track.left:
            yield track
