"""How recordings are cut for a network and what it takes, measured on the network, for files that do without it."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.encoder import Encoder
from experiments.export.facts import FrontEndFacts, NetworkFacts, RecordingFacts
from models.errors import ExportError
from models.frontends import FrontEnd


def facts_of(encoder: Encoder, layers: Sequence[str], frames: int, samples: int, any_length: bool) -> RecordingFacts:
    """The facts that `experiments.export.facts` describes.

    Args:
        encoder: The network.
        layers: Whose tokens the file gives.
        frames: Of a window.
        samples: Of a window, as the file takes it.
        any_length: Whether it takes shorter ones.

    Raises:
        ExportError: The front end makes other numbers of frames than known rules say, or the window is another.
    """
    network, windowing = encoder.network, encoder.windowing(frames)
    if samples != (windowing.rows if encoder.audio else frames * encoder.frontend.hop):
        raise ExportError(f"the file takes windows of {samples:,} samples, recordings are cut into other ones")
    shorter = _shorter(encoder, frames, any_length)
    usual = network.default_layer if network.default_layer in layers else layers[-1]
    about = NetworkFacts(
        name=network.name,
        layer_names=tuple(layers),
        default_layer=usual,
        token_names=tuple(network.token_names),
        min_frames=frames if shorter == () else network.min_frames,
        window_samples=network.window_samples,
        over_time=network.over_time,
        pool=network.pool,
        margin=network.margin,
        coverage=network.coverage,
        frames=frames,
        rows=windowing.rows,
        shorter=shorter,
    )
    return RecordingFacts(description=dict(encoder.description), network=about, frontend=_of_frontend(encoder.frontend))


def _shorter(encoder: Encoder, frames: int, any_length: bool) -> tuple[int, ...] | None:
    """See `NetworkFacts.shorter`."""
    network = encoder.network
    taken = set()
    for number in range(1, frames):
        try:
            taken.add(network.unpadded(number))
        except ValueError:  # too few
            continue
    if taken == {None}:
        return None
    return tuple(sorted(taken - {None})) if any_length else ()


def _of_frontend(frontend: FrontEnd) -> FrontEndFacts:
    """What a front end makes of audio; the rule for its number of frames is found, and tried on other lengths."""
    hop, many = frontend.hop, 64 * max(frontend.hop, frontend.min_samples)
    early = hop > 1 and frontend.n_frames(many * hop + 1) > frontend.n_frames(many * hop)
    facts = FrontEndFacts(
        name=frontend.name,
        fingerprint=frontend.fingerprint,
        sample_rate=frontend.sample_rate,
        hop=hop,
        context=frontend.context,
        item_shape=tuple(frontend.item_shape),
        fill=float(frontend.fill),
        min_samples=frontend.min_samples,
        ahead=hop - 1 if early else 0,
        extra=frontend.n_frames(many * hop) - many,
    )
    for samples in (many * hop, many * hop + 1, many * hop + hop - 1, many + 1):
        if facts.n_frames(samples) != (made := frontend.n_frames(samples)):
            raise ExportError(
                f"the front end {frontend.name} makes {made} frames of {samples} samples, by another rule"
            )
    return facts
