"""What a network sees: its front end, whether the two fit, and the length of its windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.errors import CheckpointError, InputError
from models.frontends import FrontEnd, build_with
from models.network import Network

SECONDS = 10.0  # of a window where neither network nor setting says it
NONE: Mapping[str, Any] = MappingProxyType({})
NEARLY = 0.01  # seconds: 3.69 s is a window of 59,049 samples at 16 kHz


def own_frontend(network: Network | type[Network], given: Mapping[str, Any] = NONE) -> FrontEnd:
    """The front end that a network is made for; a module that its class names may be imported.

    Args:
        network: Or its class.
        given: Arguments of the front end, over those that the class has.

    Raises:
        ValueError: See `models.frontends.build_with`.
    """
    named = network.frontend.partition(":")[0] if isinstance(network.frontend, str) else ""
    return build_with(network.frontend, network.frontend_arguments, given, {named})


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
        if abs(frames - exact) <= max(1, rate * NEARLY):
            return exact
        if network.fixed_window:
            own = network.window_samples / frontend.sample_rate
            raise InputError(
                f"datamodule.clip_length={seconds:g} s: this network takes windows of {own:g} s; leave it out"
            )
    fewest = network.min_frames if built or isinstance(network.min_frames, int) else 1  # a class may compute it
    if frames < fewest:
        raise InputError(
            f"datamodule.clip_length={seconds:g} s: {frames} frames, this network needs at least "
            f"{fewest}; set it to {math.ceil(100 * fewest / rate) / 100:g} or more"
        )
    most = (network.max_frames if network.window_samples else network.window or network.max_frames) if built else None
    if most and frames > most:
        raise InputError(
            f"windows of {seconds:g} s ({frames} frames): this network takes up to {most} frames; leave the length "
            f"(datamodule.clip_length) out or set it to {most / rate:g} or less"
        )
    return frames
