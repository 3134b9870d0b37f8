"""What an ONNX file says of its network so that it predicts recordings as `predict` does, without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from datasets.windows import is_short
from models.descriptions import check_metadata, read_object
from models.errors import CheckpointError

VERSION = 1
KEY = "recordings"  # of the property
DESCRIBED = ("network", "task", "labels", "normalisation")  # of every description
SUITE = "suite"  # of a property of every file of this project
AGAIN = "export it again: python ex_transfer.py export with inference.checkpoint=CHECKPOINT export.format=onnx"


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NetworkFacts(_Facts):
    """A network, under the names of `models.network.Network`.

    Attributes:
        layer_names: Of the layers whose tokens the file gives, in their order.
        frames: Of a window.
        rows: Of a window: the same, or samples where windows are cut from audio.
        shorter: Frames of which the file takes recordings that are shorter than a window, ascending; of any other it
            takes the next smaller. Empty: it takes none, None: they are padded.
    """

    name: str
    layer_names: tuple[str, ...]
    default_layer: str
    token_names: tuple[str, ...]
    min_frames: int
    window_samples: int | None
    over_time: bool
    pool: int
    margin: int
    coverage: str
    frames: int
    rows: int
    shorter: tuple[int, ...] | None

    def samples_of(self, frontend: FrontEndFacts, frames: int) -> int:
        """Samples of a window."""
        return self.rows if frames == self.frames else frontend.n_samples(frames)

    def unpadded(self, frames: int) -> int | None:
        """See `Network.unpadded`.

        Raises:
            ValueError: So few are not taken.
        """
        if self.shorter is None or not is_short(frames, self.frames):
            return None
        if not (taken := [number for number in self.shorter if number <= frames]):
            if self.shorter:
                raise ValueError(f"{frames} frames: the network {self.name} needs at least {self.shorter[0]}")
            raise ValueError(
                f"{frames} frames: this file takes windows of {self.frames} frames; exported again with "
                "export.any_length=True it takes shorter audio, too"
            )
        return taken[-1]


class FrontEndFacts(_Facts):
    """A front end, under the names of `models.frontends.FrontEnd`.

    Its number of frames is `(samples + ahead) // hop + extra`.
    """

    name: str
    fingerprint: str
    sample_rate: int
    hop: int
    context: int
    item_shape: tuple[int, ...]
    fill: float
    min_samples: int
    ahead: int
    extra: int

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    def n_frames(self, samples: int) -> int:
        """Number of frames made from that many samples."""
        return (samples + self.ahead) // self.hop + self.extra

    def n_samples(self, frames: int) -> int:
        """Smallest number of samples that makes that many frames."""
        return max((frames - self.extra) * self.hop - self.ahead, self.min_samples)


class RecordingFacts(_Facts):
    """What a file says of its network so that recordings can be cut for it.

    Attributes:
        version: Of these facts.
        description: As of `experiments.encoder.Encoder`.
        network: What windows it takes, and what it gives.
        frontend: How audio becomes frames.
    """

    version: int = VERSION
    description: dict[str, Any]
    network: NetworkFacts
    frontend: FrontEndFacts


def read_facts(properties: Mapping[str, str], path: str) -> RecordingFacts:
    """The facts among the properties of a file.

    Args:
        properties: Of the file.
        path: Named in errors.

    Raises:
        CheckpointError: It has none, or those of another version; or they were changed.
    """
    if SUITE not in properties:
        raise CheckpointError(
            f"{path} is an ONNX file of another program, which does not say what its network takes and gives: expected "
            "one of python ex_transfer.py export with export.format=onnx"
        )
    if KEY not in properties:
        raise CheckpointError(f"{path} does not say how recordings are cut for it, as a newer file does: {AGAIN}")
    facts = read_object(properties[KEY], f"{path}, property {KEY},")
    if (version := facts.get("version")) != VERSION:
        raise CheckpointError(f"{path} has the version {version!r:.20} of {KEY}, expected {VERSION}: {AGAIN}")
    try:
        found = RecordingFacts.model_validate_json(json.dumps(facts))  # in which lists are tuples
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path}, property {KEY}, {where}: {first['msg']}; was the file changed?") from None
    check_metadata(found.description, str(path))
    if missing := [name for name in DESCRIBED if name not in found.description]:
        raise CheckpointError(f"{path}, property {KEY}: the description lacks {missing[0]}; was the file changed?")
    return found
