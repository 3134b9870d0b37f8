"""What a decoder finds in the activations of a network for beats."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.rhythm.tempo_curve import tempo


@dataclass(frozen=True, eq=False)
class Decoded:
    """Beats of a recording.

    Attributes:
        times: Seconds, float64 `[beats]`, strictly ascending.
        positions: In the bar, counted from 1 (a downbeat), 0 where it is not known; int64 `[beats]`.
        confidence: Activation at each beat, 0 to 1, float32 `[beats]`.
        metre: Beats of the commonest bar; None where no two downbeats were found.
        alternatives: Other tempi that the whole recording can be read at, BPM, with their scores relative to that of
            `times` in nats, the best first; empty where the decoder does not compare any.
    """

    times: np.ndarray
    positions: np.ndarray
    confidence: np.ndarray
    metre: int | None = None
    alternatives: tuple[tuple[float, float], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.times)

    @property
    def tempo(self) -> float | None:
        """BPM of the median interval; None of fewer than two beats."""
        return tempo(self.times)

    @property
    def downbeats(self) -> np.ndarray:
        """Their times, seconds."""
        return self.times[self.positions == 1]
