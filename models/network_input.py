"""What a network sees: its front end, whether the two fit, and the length of its windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CheckpointError, InputError
from models.frontends import FrontEnd, build
from models.network import Network

SECONDS = 10.0  # of a window where neither network nor setting says it


@dataclass(frozen=True)
class Windowing:
    """How tracks are cut.

    Attributes:
        frames: Of a window.
        rows: Of a window: frames of features, or samples of audio.
        hop: From one window to the next, rows.
        hop_frames: The same in frames.
        rate: Rows a second.
    """

    frames: int
    rows: int
    hop: int
    hop_frames: float
    rate: float


def own_frontend(network: Network | type[Network]) -> FrontEnd:
    """The front end that a network is made for; a module that its class names may be imported."""
    named = network.frontend.partition(":")[0] if isinstance(network.frontend, str) else ""
    return build(network.frontend, {named}, **network.frontend_arguments)


def check_fit(network: Network, frontend: FrontEnd, metadata: Mapping[str, Any], file: Path) -> None:
    """Refuse weights whose network was made for frames of another shape than the front end makes.

    Args:
        network: Loaded from `file`.
        frontend: What makes its input.
        metadata: Of the file.
        file: For messages.

    Raises:
        CheckpointError: It was.
    """
    wanted = network.derive(frontend, network.window or default_window(network, frontend), network.n_classes)
    has = network.hyperparameters
    other = {key: value for key, value in wanted.items() if has.get(key) not in (None, value)}
    extractor = metadata.get("feature_extractor")
    if other or extractor:
        of = f"{', '.join(f'{key}={has[key]}' for key in other) or 'features'} of {extractor or 'another front end'}"
        makes = ", ".join(f"{key}={value}" for key, value in other.items()) or "others"
        raise CheckpointError(
            f"{file}: made for {of}, the front end {frontend.name} makes {makes}; "
            f"such weights are for model.checkpoint, to start from"
        )


def describe(
    network: Network,
    frontend: FrontEnd,
    meaning: Mapping[str, Any],
    normalisation: Sequence[float] | None = None,
    input: str | None = None,
    window: int | None = None,
) -> dict[str, Any]:
    """What a checkpoint says of a network.

    Args:
        network: Its class and arguments are named.
        frontend: What makes its input.
        meaning: Of its outputs: `task`, `labels`, `options`.
        normalisation: Mean and deviation; None: those of the front end.
        input: `features` or `audio`; None: the network's own.
        window: Frames, named where they are not the network's own.
    """
    return {
        "network": dict(network.hyperparameters),
        "class": network.name,
        **meaning,
        "frontend": frontend.description,
        "normalisation": list(normalisation or (frontend.mean, frontend.std)),
        "input": input or network.input,
        **({} if window is None or window == network.window else {"window": window}),
    }


def default_window(network: Network | type[Network], frontend: FrontEnd) -> int:
    """Frames of a window where no setting says it: the network's own."""
    if isinstance(network, Network) and network.window:
        return network.window
    if network.window_samples:
        return frontend.n_frames(network.window_samples)
    return frames_in(network.seconds or SECONDS, frontend)


def frames_in(seconds: float, frontend: FrontEnd) -> int:
    """Frames of a window, `floor(seconds * rate / hop)`."""
    return int(seconds * frontend.sample_rate / frontend.hop)


def checked_window(network: Network | type[Network], frontend: FrontEnd, seconds: float | None) -> int:
    """Frames of a window of so many seconds; None: the network's own.

    Raises:
        InputError: The network takes none as short, or as long.
    """
    if seconds is None:
        return default_window(network, frontend)
    frames, rate, built = frames_in(seconds, frontend), frontend.frame_rate, isinstance(network, Network)
    if network.window_samples:
        exact = default_window(network, frontend)
        if abs(frames - exact) > 1:
            own = network.window_samples / frontend.sample_rate
            raise InputError(
                f"datamodule.clip_length={seconds:g} s: this network takes windows of {own:g} s; leave it out"
            )
        return exact
    fewest = network.min_frames if built or isinstance(network.min_frames, int) else 1  # a class may compute it
    if frames < fewest:
        raise InputError(
            f"datamodule.clip_length={seconds:g} s: {frames} frames, this network needs at least "
            f"{fewest}; set it to {math.ceil(100 * fewest / rate) / 100:g} or more"
        )
    most = (network.window or network.max_frames) if built else None
    if most and frames > most:
        raise InputError(
            f"windows of {seconds:g} s ({frames} frames): this network takes up to {most} frames; leave the length "
            f"(datamodule.clip_length) out or set it to {most / rate:g} or less"
        )
    return frames


def windowing(
    network: Network, frontend: FrontEnd, audio: bool, frames: int, hop_frames: float | None = None
) -> Windowing:
    """How tracks are cut into windows of so many frames.

    Args:
        network: That sees them.
        frontend: What its input is made with.
        audio: Whether tracks are audio, not features.
        frames: Of a window.
        hop_frames: From one window to the next; None: one begins where another ends.
    """
    if not audio:
        hop = frames if hop_frames is None else int(hop_frames)
        return Windowing(frames, frames, hop, hop, frontend.frame_rate)
    step = frontend.hop
    hop = round(hop_frames * step) if hop_frames else network.window_samples or frames * step
    rows = network.window_samples or frontend.n_samples(frames)
    return Windowing(frames, rows, hop, hop // step if hop % step == 0 else hop / step, frontend.sample_rate)
