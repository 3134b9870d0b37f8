"""What an encoder is made of: a checkpoint and its front end, their description, audio, lengths of windows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor

from experiments.checkpoint_files import checkpoint_file, digest
from experiments.errors import UserError
from experiments.labels import output_names
from models.checkpoints import fetch, load_checkpoint, load_release
from models.frontends import FrontEnd, build
from models.inputs import FULL_SCALE
from models.network import Network
from models.releases import RELEASES
from preprocess.decode import OPPOSITE
from preprocess.features import transform

SECONDS = 10.0  # of a window where neither network nor setting says it
BLOCK = 2**18  # samples given to a front end at a time
MOST_CHANNELS = 64
OWN_FILE = "or name a file of your own: inference.checkpoint=FILE"

Parts = tuple[Network, FrontEnd, dict[str, Any], str]


def load(source: str, allowed: Collection[str], labels: str | None, arguments: Mapping[str, Any]) -> Parts:
    """Network, front end, description and weights of an encoder; see `experiments.encoder.Encoder.load`."""
    if source in RELEASES and not Path(source).exists():
        file = fetch(source, hint=OWN_FILE)
        network, metadata = load_release(source, **arguments)[0], RELEASES[source].metadata
        frontend = own_frontend(network)
    else:
        file = checkpoint_file(source)
        loaded = load_checkpoint(file, allowed=allowed, **arguments)
        network, frontend, metadata = loaded.network, loaded.frontend, loaded.metadata
    _check_fit(network, frontend, metadata, file)
    names = output_names(metadata.get("labels"), labels, network.n_classes)
    options = {"options": metadata["options"]} if "options" in metadata else {}
    meaning = {"task": metadata.get("task", "tagging"), **options, "labels": list(names)}
    about = (metadata.get("normalisation"), metadata.get("input"), metadata.get("window"))
    return network, frontend, describe(network, frontend, meaning, *about), digest(file)


def own_frontend(network: Network | type[Network]) -> FrontEnd:
    """The front end that a network is made for, unless something else is said; what its class names may be imported."""
    named = network.frontend.partition(":")[0] if isinstance(network.frontend, str) else ""
    return build(network.frontend, {named}, **network.frontend_arguments)


def _check_fit(network: Network, frontend: FrontEnd, metadata: Mapping[str, Any], file: Path) -> None:
    """Refuse a network whose arguments are for frames of another shape than the front end makes."""
    wanted = network.derive(frontend, network.window or default_window(network, frontend), network.n_classes)
    has = network.hyperparameters
    other = {key: value for key, value in wanted.items() if has.get(key) not in (None, value)}
    extractor = metadata.get("feature_extractor")
    if other or extractor:
        of = f"{', '.join(f'{key}={has[key]}' for key in other) or 'features'} of {extractor or 'another front end'}"
        makes = ", ".join(f"{key}={value}" for key, value in other.items()) or "others"
        raise UserError(
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
    """What a checkpoint says of a network; see `experiments.encoder.Encoder`. `meaning` is that of its outputs."""
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
        UserError: The network takes none as short, or as long.
    """
    if seconds is None:
        return default_window(network, frontend)
    frames, rate, built = frames_in(seconds, frontend), frontend.frame_rate, isinstance(network, Network)
    fewest = network.min_frames if built or isinstance(network.min_frames, int) else 1  # a class may compute it
    if frames < fewest:
        raise UserError(
            f"datamodule.clip_length={seconds:g} s: {frames} frames, this network needs at least "
            f"{fewest} ({fewest / rate:.2f} s)"
        )
    most = (network.window or network.max_frames) if built else None
    if most and frames > most:
        raise UserError(
            f"windows of {seconds:g} s ({frames} frames): this network takes up to {most} frames; leave the length "
            f"(datamodule.clip_length) out or set it to {most / rate:g} or less"
        )
    exact = default_window(network, frontend) if network.window_samples else frames
    if abs(frames - exact) > 1:
        raise UserError(
            f"datamodule.clip_length={seconds:g} s: this network takes windows of {exact / rate:.2f} s alone; "
            f"leave it out"
        )
    return exact


def window_samples(network: Network | type[Network], frontend: FrontEnd, frames: int) -> int:
    """Samples that make the frames of a window."""
    return network.window_samples or frontend.n_samples(frames)


def track_of(audio: np.ndarray | Tensor, rate: int, frontend: FrontEnd, as_audio: bool) -> np.ndarray:
    """Audio of any rate and number of channels to the rows that windows are cut from.

    Args:
        audio: `[samples]` or `[channels, samples]`, float of full scale 1 or int16.
        rate: Hz.
        frontend: Its sample rate, and the features.
        as_audio: Samples are wanted, not features.

    Returns:
        `[samples]` float32, or `[frames, *item_shape]` float16 as in a store.

    Raises:
        UserError: Another shape or type, values that are not finite, or too few samples.
    """
    samples = _mono(audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio))
    if rate != frontend.sample_rate:
        samples = soxr.resample(samples, rate, frontend.sample_rate, "HQ")
    if len(samples) < frontend.min_samples:
        raise UserError(
            f"audio of {len(samples) / frontend.sample_rate:.3f} s is too short: the front end {frontend.name} needs "
            f"at least {frontend.min_samples / frontend.sample_rate:.3f} s"
        )
    if as_audio:
        return samples
    blocks = (samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK))
    with torch.inference_mode():
        return np.concatenate([chunk.half().numpy() for chunk in transform(blocks, frontend)])


def _mono(audio: np.ndarray) -> np.ndarray:
    """The mean of the channels, or the first where they cancel each other, float32 of full scale 1."""
    if audio.dtype == np.int16:
        audio = audio / np.float32(FULL_SCALE)
    if not np.issubdtype(audio.dtype, np.floating):
        raise UserError(f"audio of type {audio.dtype}: give float of full scale 1, or int16")
    if audio.ndim not in (1, 2) or not audio.size or (audio.ndim == 2 and len(audio) > MOST_CHANNELS):
        raise UserError(f"audio of shape {list(audio.shape)}: give [samples] or [channels, samples], not empty")
    audio = np.atleast_2d(audio).astype(np.float32, copy=False)
    if not np.isfinite(audio).all():
        raise UserError("audio with NaN or Inf: give finite samples")
    mono = audio.mean(axis=0)
    energy = float(np.vdot(audio, audio))
    cancelled = len(audio) > 1 and len(audio) ** 2 * float(mono @ mono) < OPPOSITE * energy
    return np.ascontiguousarray(audio[0] if cancelled else mono)
