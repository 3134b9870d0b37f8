"""From settings or a checkpoint to a network, and what a checkpoint says so that it can be rebuilt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from experiments.configs.maest import LENGTHS
from experiments.errors import UserError
from experiments.labels import output_names
from experiments.messages import say
from experiments.settings import ModelSettings, NormSettings, PretrainSettings
from experiments.tasks import Task, build, from_metadata
from experiments.tracks.data import clip_frames
from models.checkpoints import fetch, initialise, load_any, load_release, read_arguments, read_metadata
from models.frontends import MusiCNNMel
from models.maest import MAEST
from models.maest.huggingface import WEIGHT_FILES, is_folder
from models.network import main_head

CLIP_SECONDS = 10.0  # where no named config says otherwise
OWN_FILE = "or name a file of your own: inference.checkpoint=FILE"
KEPT = ("norm_eps", "head_norm_eps")  # arguments without a setting, taken over with the weights
PATCHOUT_ALWAYS = (
    "s_patchout_f_indices",
    "s_patchout_f_interleaved",
    "s_patchout_t_indices",
    "s_patchout_t_interleaved",
)

USUAL_BLOCK = 6  # of twelve: the "block 7" of the MAEST paper


@dataclass(frozen=True)
class Loaded:
    """A network and what belongs to it.

    Attributes:
        network: In evaluation mode where it was trained before.
        description: `network` (arguments of its class), `task`, `labels`, `frontend` (fingerprint), `normalisation`
            (mean and deviation of stored log-mels), `options` of a task that needs more than labels; plain values,
            stored in every checkpoint.
        weights: Where the weights are from, in a form that two equal networks share.
        frontend: What its input is made with.
    """

    network: nn.Module
    description: Mapping[str, Any]
    weights: str
    frontend: MusiCNNMel

    @property
    def n_frames(self) -> int:
        """Frames of the clips it was made for."""
        return int(self.description["network"]["n_frames"])

    @property
    def n_classes(self) -> int:
        """Outputs."""
        return int(self.description["network"]["n_classes"])

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(self.description["labels"])

    @property
    def mean(self) -> float:
        """Of the log-mels it was trained on."""
        return float(self.description["normalisation"][0])

    @property
    def std(self) -> float:
        """Of the log-mels it was trained on."""
        return float(self.description["normalisation"][1])

    def task(self) -> Task:
        """What its outputs mean."""
        return from_metadata(self.description["task"], self.labels, self.description.get("options"))

    def check_frames(self, frames: int) -> int:
        """Return the length of a clip if the network takes it.

        Raises:
            UserError: It is too long.
        """
        if frames > self.n_frames:
            seconds = self.n_frames * self.frontend.hop / self.frontend.sample_rate
            raise UserError(
                f"clips of {frames} frames: this network takes up to {self.n_frames}; "
                f"leave datamodule.clip_length out or set it to {seconds:g} or less"
            )
        return frames


def classify(network: nn.Module, x: Tensor) -> Tensor:
    """Logits `[batch, classes]`; those of the CLS head where there are two."""
    return main_head(network(x))


def blocks_of(settings: PretrainSettings, depth: int) -> list[int]:
    """The blocks that the settings name; else `USUAL_BLOCK`, or of a shallower network the middle one."""
    chosen = settings.inference.transformer_block
    if chosen is None:
        return [min(USUAL_BLOCK, depth // 2)]
    return [chosen] if isinstance(chosen, int) else list(chosen)


def normalisation(norm: NormSettings, default: Sequence[float]) -> tuple[float, float]:
    """Mean and deviation of stored log-mels: the settings', else those of the front end or of a checkpoint."""
    return (
        default[0] if norm.norm_mean is None else norm.norm_mean,
        default[1] if norm.norm_std is None else norm.norm_std,
    )


def network_arguments(model: ModelSettings, n_bands: int, n_frames: int, n_classes: int) -> dict[str, Any]:
    """Arguments of `models.maest.MAEST` from settings."""
    return {**model.arguments, "n_bands": n_bands, "n_frames": n_frames, "n_classes": n_classes}


def fetch_weights(settings: PretrainSettings, trained: bool = False) -> None:
    """Have the weights that a network starts from, before hours of work on its input: what is missing is said at once.

    Args:
        settings: Of the experiment.
        trained: Those that `load` takes, not those of `initial`.

    Raises:
        UserError: There is no such checkpoint.
        CheckpointError: A release can be neither found nor downloaded.
    """
    model, trained = settings.model, trained and not settings.inference.random_weights
    checkpoint = settings.inference.checkpoint if trained else model.checkpoint
    if checkpoint:
        checkpoint_file(checkpoint)
    elif model.pretrained:
        fetch(model.pretrained, OWN_FILE if trained else _from_nothing(_clip_seconds(settings)))


def initial(settings: PretrainSettings, frontend: MusiCNNMel, task: Task, n_classes_dist: int | None = None) -> Loaded:
    """Build the network of the settings, with random weights or those the settings start from.

    Args:
        settings: Of the experiment.
        frontend: Of its input.
        task: Of its outputs.
        n_classes_dist: Outputs of its second head, where a teacher gives them; None for as many as the first has.

    Raises:
        UserError: The settings do not make a network, or the checkpoint to start from is for another front end.
        CheckpointError: The weights to start from cannot be had or do not fit.
    """
    model = settings.model
    seconds = _clip_seconds(settings)
    frames = clip_frames(seconds, frontend)
    arguments = network_arguments(model, frontend.n_bands, frames, task.n_outputs)
    arguments |= {} if n_classes_dist is None else {"n_classes_dist": n_classes_dist}
    file = checkpoint_file(model.checkpoint) if model.checkpoint else None
    arguments |= {name: value for name, value in (read_arguments(file) if file else {}).items() if name in KEPT}
    try:
        network = MAEST(**arguments)
    except ValueError as error:
        raise UserError(f"settings of the network: {error}") from error
    for head in network.unused_heads():
        head.requires_grad_(False)
    weights = f"random, seed {settings.seed}"
    usual = _usual_normalisation(file, frontend) if file else (frontend.mean, frontend.std)
    if file or model.pretrained:
        start = str(file or model.pretrained)
        report = initialise(
            network,
            start,
            positions=model.positions,
            discard_head=model.checkpoint_discard_head,
            missing_blocks=model.missing_blocks,
            labels=task.classes,
            hint=_from_nothing(seconds),
        )
        say(str(report))
        weights = f"sha256 {_digest(file)}" if file else start
    description = {
        "network": arguments,
        **task.metadata,
        "frontend": frontend.fingerprint,
        "normalisation": list(normalisation(settings.datamodule.norm, usual)),
    }
    return Loaded(network, description, weights, frontend)


def _usual_normalisation(file: Path, frontend: MusiCNNMel) -> Sequence[float]:
    """What the weights of a checkpoint are used to, once it is clear that they see the same features."""
    metadata = read_metadata(file)
    _check_frontend(file, metadata, frontend)
    return metadata.get("normalisation", (frontend.mean, frontend.std))


def _check_frontend(file: Path, metadata: Mapping[str, Any], frontend: MusiCNNMel) -> None:
    made_for = metadata.get("frontend", frontend.fingerprint)
    if made_for != frontend.fingerprint:
        raise UserError(
            f"{file}: made for features {made_for}, these are {frontend.fingerprint}; "
            f"give a checkpoint that was trained on such features"
        )


def _clip_seconds(settings: PretrainSettings) -> float:
    return settings.datamodule.clip_length or CLIP_SECONDS


def _from_nothing(seconds: float) -> str:
    instead = f"maest_{seconds:g}s_random_weights_pretrain" if seconds in LENGTHS else "model.pretrained=None"
    return f"or start from random weights: {instead}"


def load(settings: PretrainSettings, frontend: MusiCNNMel, classes: bool = True) -> Loaded:
    """Load a trained network: `inference.checkpoint`, else the release in `model.pretrained`.

    Args:
        settings: Of the experiment.
        frontend: Of its input.
        classes: Whether it matters what its outputs are called.

    Raises:
        UserError: None of them is given, or the network is for another front end.
        CheckpointError: It cannot be had or read.
    """
    inference, pretrained = settings.inference, settings.model.pretrained
    always = settings.model.model_dump(include=set(PATCHOUT_ALWAYS), exclude_defaults=True)
    if inference.random_weights:
        return _untrained(settings, frontend)
    if inference.checkpoint:
        file = checkpoint_file(inference.checkpoint)
        network, metadata = load_any(file, **always)
    elif pretrained:
        file = fetch(pretrained, hint=OWN_FILE)
        network, metadata = load_release(pretrained, **always)[0], {}
    else:
        raise UserError(
            "no trained network is named: give inference.checkpoint=FILE (or a run's folder), "
            "or a published network such as the named config maest_30s_inference"
        )
    _check_frontend(file, metadata, frontend)
    arguments = dict(network.hyperparameters)
    if arguments.get("n_bands") != frontend.n_bands or "feature_extractor" in metadata:
        other = metadata.get("feature_extractor", "another front end")
        raise UserError(
            f"{file}: made for {arguments.get('n_bands', 'no')} bands of {other}, this front end makes "
            f"{frontend.n_bands}; such weights are for model.checkpoint, to start from"
        )
    if classes and "labels" not in metadata and not inference.labels:
        say(f"the weights name no classes: they are numbered; give inference.labels=FILE of {network.n_classes} names")
    description = {
        "network": arguments,
        "task": metadata.get("task", "tagging"),
        **({"options": metadata["options"]} if "options" in metadata else {}),
        "labels": list(output_names(metadata.get("labels"), inference.labels, arguments["n_classes"])),
        "frontend": frontend.fingerprint,
        "normalisation": metadata.get("normalisation", [frontend.mean, frontend.std]),
    }
    return Loaded(network, description, f"sha256 {_digest(file)}", frontend)


def checkpoint_file(named: str) -> Path:
    """The file itself, or the best checkpoint of a run's folder, else its last, else the one of its interruption.

    A folder in Hugging Face's layout is a checkpoint as a whole.

    Raises:
        UserError: There is none.
    """
    path = Path(named).expanduser()
    names = [f"{name}.ckpt" for name in ("best", "last", "interrupted")]
    inside = [folder / name for folder in (path / "checkpoints", path) for name in names]
    found = path if path.is_file() else next((file for file in inside if file.is_file()), None)
    if found is None and is_folder(path):
        return path
    if found is None:
        missing = "no checkpoint in this folder" if path.is_dir() else "no such file"
        raise UserError(
            f"checkpoint {named}: {missing}; name a file, a run's folder, its trainer.checkpoint_dir, "
            f"or a folder with a model.safetensors"
        )
    return found


def _untrained(settings: PretrainSettings, frontend: MusiCNNMel) -> Loaded:
    from lightning import seed_everything

    seed_everything(settings.seed, verbose=False)
    task = build("tagging", classes=["first", "second"])
    found = initial(settings, frontend, task)
    found.network.eval()
    return found


def _digest(file: Path) -> str:
    file = next((file / name for name in WEIGHT_FILES if (file / name).is_file()), file)
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
