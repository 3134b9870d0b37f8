"""How tracks are cut into the windows of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from datasets.windows import Plan
from experiments.errors import UserError

if TYPE_CHECKING:
    from models.frontends import FrontEnd
    from models.network import Network


@dataclass(frozen=True)
class Windowing:
    """Length and places of windows.

    Attributes:
        frames: Of a window.
        plan: Of the windows of a track, in its rows: frames of features, or samples of audio.
        rate: Rows a second.
        step: Rows from one frame to the next.
    """

    frames: int
    plan: Plan
    rate: float
    step: int = 1

    @property
    def rows(self) -> int:
        """Of a window."""
        return self.plan.length

    @property
    def hop_frames(self) -> float | None:
        """Frames from one window to the next; None where windows are spread over a track."""
        hop, step = self.plan.hop, self.step
        if hop is None:
            return None
        return hop // step if hop % step == 0 else hop / step

    @property
    def record(self) -> dict[str, Any]:
        """What a record of predictions says of the windows; plain values."""
        about: dict[str, Any] = {"window_frames": self.frames}
        if self.plan.hop is None:
            return about | {"windows": self.plan.count or "spread"}
        return about | {"hop_frames": self.hop_frames} | ({"last_window": "at the end"} if self.plan.to_end else {})

    @property
    def behind(self) -> bool:
        """Whether what a track lacks is padded behind it."""
        return self.plan.align > 0

    @property
    def validation(self) -> Plan:
        """Where windows lie while a network is trained: at the centre, if tests take consecutive ones.

        A network over time sees all of a track, as in tests.
        """
        usual = self.plan.hop is not None and not self.plan.to_end and not self.plan.align
        return Plan(self.rows, count=1) if usual else self.plan


def in_words(windowing: Windowing, frontend: FrontEnd) -> str:
    """How long a window is: `59,049 samples (2.68 s)`, or frames of a front end that makes such."""
    unit = "samples" if frontend.hop == 1 else "frames"
    return f"{windowing.frames:,} {unit} ({windowing.rows / windowing.rate:.3g} s)"


def consecutive(
    network: Network, frontend: FrontEnd, audio: bool, frames: int, hop_frames: float | None = None
) -> Windowing:
    """Windows of so many frames that follow each other.

    Args:
        network: That sees them.
        frontend: What its input is made with.
        audio: Whether tracks are audio, not features.
        frames: Of a window.
        hop_frames: From one window to the next; None: one begins where another ends.
    """
    if not audio:
        return Windowing(frames, Plan(frames, int(hop_frames or frames)), frontend.frame_rate)
    rows, step = network.samples_of(frontend, frames), frontend.hop
    own = rows if rows == network.window_samples else frames * step
    return Windowing(frames, Plan(rows, round(hop_frames * step) if hop_frames else own), frontend.sample_rate, step)


def margin(network: Network, frontend: FrontEnd, audio: bool) -> int:
    """Frames at both ends of a window that see too little, in whole steps of a network over time.

    Where the front end is computed on windows of audio, its outermost frames see an edge that a recording does not
    have there.
    """
    frames = network.margin + (math.ceil(frontend.context / frontend.hop) + 1 if audio else 0)
    return math.ceil(frames / network.pool) * network.pool


def over_time(
    network: Network, frontend: FrontEnd, audio: bool, frames: int, hop: float | None = None, **other: Any
) -> Windowing:
    """Windows for a network that gives its outputs over time: from the beginning of a track to its end, side by side
    but for their margins, and every step of one at a step of the others.

    Args:
        network: That sees them.
        frontend: What its input is made with.
        audio: Whether tracks are audio, not features.
        frames: Of a window.
        hop: Seconds from one window to the next, rounded down to whole steps; None: as far as their margins allow.
        other: Further places of windows, of which this network can have none.

    Raises:
        UserError: The distance is too small, or leaves a gap; other places are wanted.
    """
    if named := [f"{name}={value}" for name, value in other.items() if value]:
        raise UserError(f"{named[0]}: this network gives its outputs over the whole of a recording; leave it out")
    pool, most = network.pool, frames - 2 * margin(network, frontend, audio)
    wanted = most if hop is None else hop * frontend.frame_rate
    apart = int(wanted // pool) * pool
    if apart < pool or wanted > most:
        allowed = " to ".join(f"{limit / frontend.frame_rate:.3g}" for limit in (pool, most))
        raise UserError(
            f"hop={wanted / frontend.frame_rate:g} s: windows of {frames / frontend.frame_rate:.3g} s of this network "
            f"follow each other after {allowed} s"
        )
    usual = consecutive(network, frontend, audio, frames)
    plan = Plan(usual.rows, apart * usual.step, align=pool * usual.step)
    return replace(usual, plan=plan)


def placed(
    usual: Windowing,
    coverage: str,
    windows: int | None = None,
    hop: float | None = None,
    overlapped: bool = False,
    stored: bool = False,
) -> Windowing:
    """Windows where they are wanted.

    Args:
        usual: Consecutive ones.
        coverage: Of the network, where nothing else is wanted.
        windows: So many, spread evenly.
        hop: Seconds from one window to the next, and a last one flush with the end.
        overlapped: Begin each at half of the one before.
        stored: At equal distances, as stores have them: without a last one flush with the end.

    Raises:
        UserError: Several of them are given, the distance is too small, or a store cannot have such windows.
    """
    given = {"windows": windows, "hop": hop, "half_overlapped_inference": overlapped or None}
    named = [f"{name}={value}" for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise UserError(f"{' and '.join(named)}: each says where windows lie; give one of them")
    if windows is not None and stored:
        raise UserError(
            f"inference.windows={windows}: a store holds windows at one distance, so that it is known where each "
            "of them lies; give the distance, inference.hop=SECONDS, or leave it out"
        )
    plan = usual.plan
    if overlapped:
        plan = replace(plan, hop=plan.hop // 2)
    elif hop is not None:
        plan = Plan(usual.rows, round(hop * usual.rate), to_end=not stored)
        if plan.hop < 1:
            raise UserError(f"hop={hop:g} s: give {1 / usual.rate:.2g} s or more")
    elif windows is not None or (coverage == "spread" and not stored):
        plan = Plan(usual.rows, count=windows)
    return replace(usual, plan=plan)
