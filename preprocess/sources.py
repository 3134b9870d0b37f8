"""What is known of an audio file that was opened, and why one cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BLOCK = 32_768  # frames: a block of stereo float32 and what is made of it stay in the second-level cache
MISSING = "no such file"
UNREADABLE = "cannot be read"
NO_FFMPEG = "there is no ffmpeg on the PATH to try"


class AudioError(ValueError):
    """Audio that cannot be used.

    Attributes:
        path: The file or folder.
        reason: Why, without the path; what stands before a colon names the kind of reason.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[AudioError], tuple[str | Path, str]]:
        return type(self), (self.path, self.reason)


class UnreadableAudio(AudioError):
    """A file or folder that the system does not let us read: no right to, or a fault of the disk or the network."""

    @classmethod
    def of(cls, path: str | Path, error: OSError) -> UnreadableAudio:
        """From what the system said."""
        return cls(path, f"{UNREADABLE}: {error.strerror or error}")


@dataclass(frozen=True)
class AudioSource:
    """A stream of audio: what its headers say, and its samples.

    Attributes:
        sample_rate: Hz.
        channels: Number of channels.
        blocks: Arrays [n, channels] float32, each valid until the next is asked for; may raise `AudioError`.
        frames: How many it should have; 0 where that is not known.
        slack: How many less a decoder may give of a whole one.
        flaw: What its bytes show to be wrong, `cut short: ...` or `damaged: ...`; empty where nothing is.
    """

    sample_rate: int
    channels: int
    blocks: Iterator[np.ndarray]
    frames: int = 0
    slack: int = 0
    flaw: str = ""
