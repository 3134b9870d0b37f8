"""A small network on stored vectors: its settings, its use on new vectors, its file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experiments.errors import UserError
from experiments.probes.validation import Evaluator, check_splits
from experiments.probes.vectors import Split, same_origin
from experiments.tasks import from_metadata
from experiments.tasks.base import Task
from models.descriptions import read_object
from models.errors import CheckpointError
from models.probes import apply
from models.probes.grids import ProbeConfig

if TYPE_CHECKING:
    from models.probes.batched import TrainedProbe

FORMAT = "ostinato probe 1"


@dataclass(frozen=True)
class FittedProbe:
    """A trained probe with all that is needed to use it on new vectors.

    Attributes:
        task: Decodes the outputs.
        config: How it was trained.
        seed: Of weights, batches and dropout.
        weights: As `models.probes.apply` takes them, float32.
        mean: Subtracted from the features, float64 `[values]`.
        scale: The features are divided by it, float64 `[values]`.
        features: What made the vectors it was trained on, from `Split.features`.
        value: Best primary metric on validation.
        loss: Validation loss at the best step.
        best_step: Where the weights are from.
        stop_step: Where training stopped.
        curve: Primary metric on validation by step.
        recipe: How it was trained, where that was not by a sweep; then `config` is its shape.
    """

    task: Task
    config: ProbeConfig
    seed: int
    weights: Mapping[str, np.ndarray]
    mean: np.ndarray
    scale: np.ndarray
    features: Mapping[str, Any]
    value: float
    loss: float
    best_step: int
    stop_step: int
    curve: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shares(self) -> np.ndarray | None:
        """What every block adds to a learned sum, `[blocks]`, in all 1; None for a probe of one block."""
        return apply.block_shares(self.weights)

    @classmethod
    def of(cls, trained: TrainedProbe, task: Task, seed: int, features: Mapping[str, Any]) -> FittedProbe:
        """A probe of a grid with its task, its seed and what made the vectors."""
        own = {one.name: getattr(trained, one.name) for one in fields(trained) if one.name != "failure"}
        return cls(task=task, seed=seed, features=dict(features), **own)

    def outputs(self, features: np.ndarray | Split) -> np.ndarray:
        """Return raw outputs, float32 `[tracks, outputs]`; arguments and errors as in `predict`."""
        if isinstance(features, Split):
            same_origin("the probe was trained on", self.features, "these vectors are", features.features)
            features = features.x
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise UserError(
                f"features of shape {list(features.shape)}, the probe was trained on [tracks, {len(self.mean)}]"
            )
        return apply.outputs(self.weights, apply.scaled(features, self.mean, self.scale))

    def predict(self, features: np.ndarray | Split) -> np.ndarray:
        """Return the task's predictions `[tracks, classes]`, e.g. probabilities.

        Args:
            features: Vectors `[tracks, values]`, or a split, whose origin is then compared with the training's. For a
                learned sum of blocks, the vectors of all blocks side by side, in their order.

        Raises:
            UserError: Another width, or vectors made by something else.
        """
        return self.task.decode(self.outputs(features))

    def save(self, path: str | Path) -> Path:
        """Write weights and scaler as safetensors, the rest as JSON in its header; the file is replaced whole."""
        from safetensors.numpy import save

        own = {name: getattr(self, name) for name in ("seed", "value", "loss", "best_step", "stop_step", "curve")}
        document = own | {
            "task": self.task.metadata["task"],
            "options": dict(self.task.options),
            "config": asdict(self.config),
            "features": dict(self.features),
            "recipe": dict(self.recipe),
        }
        arrays = {**self.weights, "scaler.mean": self.mean, "scaler.scale": self.scale}
        data = save(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            metadata={"format": FORMAT, "probe": json.dumps(document)},
        )
        path = Path(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(data)
        os.replace(aside, path)
        return path

    @staticmethod
    def is_kept(path: Path) -> bool:
        """Whether a file is a probe that `save` wrote, by its header."""
        from safetensors import safe_open

        if path.suffix != ".safetensors" or not path.is_file():
            return False
        try:
            with safe_open(path, framework="numpy") as handle:
                return (handle.metadata() or {}).get("format") == FORMAT
        except Exception:  # of the library: whoever loads it will say what is wrong
            return False

    @classmethod
    def load(cls, path: str | Path) -> FittedProbe:
        """Read what `save` wrote.

        Raises:
            UserError: The file is missing or holds no probe.
        """
        from safetensors import safe_open

        path = Path(path)
        if not path.is_file():
            inside = ", ".join(sorted(file.name for file in path.glob("probe_*.safetensors")))
            hint = f"there is {inside}" if inside else "ex_probe.py and ex_transfer.py leave probe_*.safetensors"
            raise UserError(f"{path}: no such probe; {hint}")
        try:
            with safe_open(path, framework="numpy") as handle:
                metadata = handle.metadata() or {}
                arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        except Exception as error:  # of the library, of the disk, or a type of numbers that numpy does not have
            raise UserError(f"{path}: not a safetensors file ({str(error)[:200]})") from None
        if metadata.get("format") != FORMAT:
            raise UserError(f"{path}: format {metadata.get('format')!r:.60}, expected {FORMAT!r}; is it a probe?")
        document = _document(metadata.get("probe", ""), path)
        try:
            task = from_metadata(document.task, None, document.options)
        except UserError as error:
            raise UserError(f"{path}: its task cannot be built ({error}); was the file changed?") from None
        _check_arrays(arrays, task.n_outputs, path)
        mean, scale = arrays.pop("scaler.mean"), arrays.pop("scaler.scale")
        rest = {name: getattr(document, name) for name in _Document.model_fields if name not in ("task", "options")}
        return cls(task, weights=arrays, mean=mean, scale=scale, **rest)


def train_batch(
    task: Task, train: Split, valid: Split, configs: Mapping[int, ProbeConfig], seed: int, device: str = "cpu"
) -> dict[int, TrainedProbe]:
    """Train a batch of probes, by their number in a grid, on the loss and the primary metric of a task.

    Raises:
        UserError: The splits do not fit together, or validation cannot be scored.
    """
    from models.probes import batched

    check_splits(task, train, valid)
    score = Evaluator(task, valid.y, valid.groups, device).scores
    splits = (train.x, train.y), (valid.x, valid.y)
    arguments = (task.n_outputs, task.loss, score, seed, train.layers, device, getattr(task, "loss_slope", None))
    return batched.train_batch(configs, *splits, *arguments)


class _Document(BaseModel):
    """The header of a file."""

    model_config = ConfigDict(extra="forbid")

    task: str
    options: dict[str, Any]
    config: ProbeConfig
    seed: int
    value: float
    loss: float
    best_step: int
    stop_step: int
    curve: tuple[tuple[int, float], ...]
    features: dict[str, Any]
    recipe: dict[str, Any] = Field(default_factory=dict)


def _document(text: str, path: Path) -> _Document:
    try:
        content = read_object(text, f"{path}: its header 'probe'")
    except CheckpointError as error:
        raise UserError(str(error)) from None
    if "options" not in content and "classes" in content:  # of files before tasks had options
        content["options"] = {"classes": content.pop("classes")}
    try:
        return _Document.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: its header 'probe', {key}: {first['msg']}; was the file changed?") from None


def _check_arrays(arrays: Mapping[str, np.ndarray], n_outputs: int, path: Path) -> None:
    """Refuse weights that do not fit together or to the task."""
    shapes = {name: array.shape for name, array in arrays.items()}
    width, blocks = shapes.get("scaler.mean", ()), shapes.pop("blocks", (1,))
    if len(width) != 1 or len(blocks) != 1 or not blocks[0] or not width[0] or width[0] % blocks[0]:
        raise UserError(f"{path}: scaler.mean has the shape {width} for {blocks} blocks; is the file whole?")
    hidden = shapes.get("0.bias", (0,)) if "1.weight" in arrays else (n_outputs,)
    expected = {"0.weight": (*hidden, width[0] // blocks[0]), "0.bias": hidden}
    expected |= {"scaler.mean": width, "scaler.scale": width}
    expected |= {"1.weight": (n_outputs, *hidden), "1.bias": (n_outputs,)} if "1.weight" in arrays else {}
    wrong = sorted(name for name in {*shapes, *expected} if shapes.get(name) != expected.get(name))
    if wrong:
        name = wrong[0]
        raise UserError(f"{path}: {name} has the shape {shapes.get(name)}, expected {expected.get(name)}; is it whole?")
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UserError(f"{path}: {name} holds values that are not finite; keep the probe again")
