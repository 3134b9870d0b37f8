"""A network over time and a task about events, through the encoder: windows side by side are the whole recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from datasets.targets import FrameTargets
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.tasks import Task, build
from experiments.tasks.checks import as_float32
from models.frontends import FrontEnd
from models.network import Network
from models.rhythm.decoded import Decoded

RATE, HOP = 1000, 10


class Levels(FrontEnd):
    """The samples at the frames."""

    units, item_shape = "", (1,)

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.hop = RATE, HOP

    def forward(self, audio):
        self.check(audio)
        return nn.functional.pad(audio, (0, self.hop))[..., :: self.hop][..., : self.n_frames(audio.shape[-1]), None]


class Smoothed(Network):
    """The mean of pairs of frames, and of five such steps."""

    frontend, seconds, over_time, pool, margin = Levels, 2.0, True, 2, 4
    layer_names = ("steps",)

    def __init__(self, n_classes: int = 1) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.scale = nn.Parameter(torch.ones(()))

    def embed(self, x, layers):
        steps = x[:, : x.shape[1] // 2 * 2].unflatten(1, (-1, 2)).mean(2).transpose(1, 2)
        smooth = nn.functional.conv1d(nn.functional.pad(steps, (2, 2)), torch.full((1, 1, 5), 0.2))
        return {"steps": self.scale * smooth.transpose(1, 2)}

    def forward(self, x):
        return self.embed(x, ["steps"])["steps"]


class Peaks(Task):
    """The largest step."""

    name, annotations, kind, primary, clip_level = "peaks", ("tempo",), "events", "accuracy", False
    classes = ("peak",)
    options: dict = {}  # noqa: RUF012

    def encode(self, annotation):
        return np.float32(annotation)

    def targets(self, annotations):
        return FrameTargets(annotations)

    def loss(self, outputs, targets, mask=None):
        return outputs.square().mean()

    def decode(self, outputs):
        return as_float32(outputs)

    def join(self, predictions, starts=None, how="mean", frames=None):
        whole = np.full((self.grid.steps(frames), 1), np.nan)
        margin = self.grid.margin // self.grid.pool
        for window, start in zip(predictions, starts, strict=True):
            first, cut = round(start) // self.grid.pool, margin if start else 0
            end = len(window) if start == starts[-1] else len(window) - margin
            part = window[cut : min(end, len(whole) - first)]
            whole[first + cut : first + cut + len(part)] = part
        return whole

    def events(self, activations):
        time = self.grid.times(len(activations))[activations[:, 0].argmax()]
        return Decoded(np.array([time]), np.array([1]), np.ones(1, np.float32))

    def score(self, predictions, references):
        return {"accuracy": 1.0, "n_items": 1.0}


def encoder(audio: bool) -> Encoder:
    return Encoder.of(Smoothed(), Levels(), Peaks(), input="audio" if audio else "features")


@pytest.mark.parametrize("audio", [False, True])
@pytest.mark.parametrize("seconds", [0.3, 2.0, 2.01, 7.3, 7.315])
def test_windows_side_by_side_are_the_whole_and_nothing_at_the_end_is_lost(audio, seconds):
    sound = np.random.default_rng(0).uniform(-1, 1, round(seconds * RATE)).astype(np.float32)
    sound[-1 - HOP] = 1.0
    prediction = encoder(audio).predict(sound, RATE)
    whole = Smoothed()(Levels()(torch.from_numpy(sound)[None]))[0].detach().numpy()
    inner = len(whole) - 2  # the last steps see the padding of the last window
    assert prediction.over_time.shape == whole.shape
    np.testing.assert_allclose(prediction.over_time[:inner], whole[:inner], atol=1e-6 if audio else 2e-4)
    np.testing.assert_allclose(prediction.times[:2], [0.005, 0.025])
    assert prediction.window == pytest.approx(0.02)
    assert prediction.events.times[0] == pytest.approx(prediction.times[prediction.over_time.argmax()])


def test_a_distance_of_windows_may_be_chosen_and_must_leave_no_gap():
    sound = np.random.default_rng(0).uniform(-1, 1, 6000).astype(np.float32)
    usual, closer = encoder(True).predict(sound, RATE), encoder(True).predict(sound, RATE, hop=0.5)
    np.testing.assert_allclose(closer.over_time[:-2], usual.over_time[:-2], atol=1e-6)
    with pytest.raises(UserError, match=r"follow each other after 0\.02 to 1\.88 s"):
        encoder(True).predict(sound, RATE, hop=1.95)
    with pytest.raises(UserError, match=r"windows=3: this network gives its outputs over the whole"):
        encoder(True).predict(sound, RATE, windows=3)


def test_network_and_task_must_both_be_over_time_or_neither():
    with pytest.raises(UserError, match="gives its outputs over time, and tagging is about whole recordings"):
        _ = Encoder.of(Smoothed(), Levels(), build("tagging", classes=["a"])).task
