"""Small networks in both forms that the service takes, and what both engines say of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from datasets.windows import cut
from experiments.encoder import Encoder
from experiments.export.cards import card
from experiments.export.formats import FORMATS, ExportJob
from experiments.inference.predictor import RunBatch
from experiments.inference.refusals import notes_on
from experiments.service.answers import Answer, answer_of
from experiments.service.models import ServedModel, open_models
from experiments.settings import ExportSettings
from experiments.tasks import build
from experiments.tasks.base import Task
from experiments.transfer.settings import TransferSettings
from models.checkpoints import save_network
from models.fcn import FCN
from models.maest import MAEST
from models.network import Network
from models.tcn import TCN
from models.thresholds import Thresholds
from preprocess.attempts import attempt
from preprocess.files import Candidate
from preprocess.tracks import DecodedTrack

OWN = "tests.experiments.service.exported:Pulse"
TAGS = ["polka", "waltz", "march"]


class Pulse(Network):
    """A convolution over the onsets of a recording, and its mean."""

    frontend = "onset"
    frontend_arguments: ClassVar = {"bands": 32, "n_fft": 512, "hop": 256}
    seconds = 4.0
    min_frames = 8
    layer_names = ("hidden",)

    def __init__(self, n_classes: int, width: int = 4) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.body, self.head = nn.Conv1d(1, width, 5), nn.Linear(width, n_classes)

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Frames `[batch, frames]` to `[batch, 1, width]`."""
        return {"hidden": self.body(x[:, None]).relu().mean(-1)[:, None]}

    def forward(self, x: Tensor) -> Tensor:
        """Frames `[batch, frames]` to logits."""
        return self.head(self.embed(x, ["hidden"])["hidden"][:, 0])


def small(kind: str) -> tuple[Network, Task]:
    """A network of random weights, and what it predicts."""
    torch.manual_seed(0)
    return {
        "tags": lambda: (FCN(n_classes=3, channels=(8, 8, 8, 8, 8)), build("tagging", classes=TAGS)),
        "genre": lambda: (MAEST(n_classes=3, n_frames=200, dim=16, depth=2, heads=2), build("genre", classes=TAGS)),
        "values": lambda: (
            MAEST(n_classes=2, n_frames=100, dim=16, depth=1, heads=2),
            build("emotion", mean=[5.0, 4.0], scale=[1.0, 2.0]),
        ),
        "beats": lambda: (TCN(channels=6, blocks=2), build("beats")),
        "tempo": lambda: (Pulse(1), build("tempo_regression", mean=[7.0], scale=[0.4])),
        "embeddings": lambda: (MAEST(n_classes=0, n_frames=100, dim=16, depth=1, heads=2), None),
    }[kind]()


def written(kind: str, folder: Path, **export: Any) -> Path:
    """`KIND.safetensors` and `KIND.onnx` in a folder; returns the latter."""
    network, task = small(kind)
    encoder = Encoder.of(network.eval(), task=task, window=170 if kind == "tempo" else None)
    if kind == "tags":
        encoder.description["thresholds"] = Thresholds(tuple(TAGS), (0.2, 0.5, 0.9), 0.4, "validation", 1823).entry
    checkpoint, path = folder / f"{kind}.safetensors", folder / f"{kind}.onnx"
    save_network(checkpoint, network, encoder.description, encoder.frontend)
    loaded = Encoder.load(str(checkpoint), allowed={__name__}, device="cpu")
    chosen, layers = ExportSettings(path=str(path), **export), list(network.layer_names)[-2:]
    job = ExportJob(chosen, loaded, layers if task else layers[-1:], loaded.window, card(loaded, str(checkpoint), None))
    notes = FORMATS["onnx"].write(path, job)
    assert not notes
    return path


def opened(path: Path, **more: Any) -> ServedModel:
    """The model of a file, by the engine that is for it."""
    (model,) = open_models(_settings(path, {"models": {"it": str(path)}}, **more))
    return model


def alone(path: Path, inference: Mapping[str, Any] | None = None, **more: Any) -> ServedModel:
    """The same as the only model of a service, with settings of `predict`."""
    given = {"checkpoint": str(path), **(inference or {})}
    (model,) = open_models(_settings(path, {}, inference=given, **more))
    return model


def _settings(path: Path, service: dict[str, Any], **more: Any) -> TransferSettings:
    exported = path.suffix == ".onnx"
    own = {} if exported else {"model": {"network": OWN}}
    engine = {"engine": "onnx" if exported else "torch"}
    return TransferSettings(trainer={"accelerator": "cpu"}, service=service | engine, **own, **more)


def decoded(model: ServedModel, audio: Path) -> DecodedTrack | str:
    """The rows of a file."""
    outcome = attempt(Candidate(audio.name, audio), model.decode, 0)[1]
    return outcome if isinstance(outcome, str) else outcome[0]


def asked(model: ServedModel, audio: Path) -> Answer:
    """What a model says of a file, over time too."""
    predictor, outcome = model.predictor, decoded(model, audio)
    track = predictor.opened("", outcome.frames)
    track.outputs = _outputs(predictor.run_batch, track.windows)
    prediction, notes = predictor.prediction(track), notes_on(predictor.task, outcome)
    return answer_of(model, prediction, outcome.seconds, notes, model.selection, 10, over_time=True)


def embedded(model: ServedModel, audio: Path) -> np.ndarray:
    """Tokens of the last layer, `[windows, tokens, dim]`."""
    encoder, layer = model.encoder, model.encoder.network.layer_names[-1]
    _, windows = cut(decoded(model, audio).frames, encoder.windowing_of(stored=True).plan, encoder.fill())
    return np.stack([tokens for (tokens,) in _outputs(model.embedding((layer,)), windows)])


def _outputs(run_batch: RunBatch, windows: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    batches = [np.stack(windows[start : start + 3]) for start in range(0, len(windows), 3)]
    return [list(one) for batch in batches for one in zip(*run_batch(batch), strict=True)]
