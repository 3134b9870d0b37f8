"""The wheel of the library `musicnn` 0.1.0: its TensorFlow checkpoints as files of ours.

The wheel is data here: nothing of it is installed or run, and only the files that this module names are read.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from models.errors import CheckpointError
from models.files import replaced
from models.initial_weights import State
from models.layouts import HEADER, write_safetensors
from models.releases import Release
from models.tensorflow_checkpoint import read_tensors

FILES = (".index", ".data-00000-of-00001")  # of a checkpoint
LICENCE_FILE = "musicnn-0.1.0.dist-info/LICENSE.md"
LARGEST = 2**25  # bytes of a file in the wheel
STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
# TensorFlow numbers layers of a kind in the order in which the library makes them.
CONVOLUTIONS = ("timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2", "cnn1", "cnn2", "cnn3")
NORMS = ("bn_input", *(f"{name}.bn" for name in CONVOLUTIONS), "bn_pool", "bn_dense")
LINEAR = ("dense", "head")


def convert(wheel: Path, release: Release, path: Path) -> None:
    """Write the weights of a release as a file that tells its network, and the licence beside it.

    Args:
        wheel: Whose SHA-256 is known to be the published one.
        release: Of the wheel; `member` names the folder in it.
        path: Of the new `.safetensors` file.

    Raises:
        CheckpointError: The wheel cannot be read.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            index, data = (_read(archive, f"musicnn/{release.member}/{name}") for name in FILES)
            licence = _read(archive, LICENCE_FILE)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile can raise almost anything over a damaged file
        raise CheckpointError(f"{wheel} is not readable as the wheel of musicnn 0.1.0: {error}") from error
    state = network_state(read_tensors(index, data, f"{wheel.name}: {release.member}", _of_network))
    header = {
        "version": 1,
        "class": release.network,
        "network": dict(release.arguments),
        "metadata": {**release.metadata, "licence": release.licence},
    }
    with replaced(path.with_name(f"{path.stem}.LICENCE.txt")) as aside:
        aside.write_bytes(licence)
    write_safetensors(path, state, {HEADER: json.dumps(header)})


def network_state(tensors: Mapping[str, np.ndarray]) -> State:
    """Tensors under TensorFlow's names, to the state of `MusicnnOriginal`.

    Raises:
        CheckpointError: One is missing, or of another number of dimensions.
    """
    state: State = {}
    try:
        for number, name in enumerate(CONVOLUTIONS):
            kernel = torch.from_numpy(tensors[_numbered("conv2d", number) + "/kernel"].copy())
            # [frames, bands, in, out]; a convolution over time has its input in the place of the bands
            over_time = name.startswith("cnn")
            state[f"{name}.conv.weight"] = kernel[:, :, 0].permute(2, 1, 0) if over_time else kernel.permute(3, 2, 0, 1)
            state[f"{name}.conv.bias"] = torch.from_numpy(tensors[_numbered("conv2d", number) + "/bias"].copy())
        for number, name in enumerate(LINEAR):
            state[f"{name}.weight"] = torch.from_numpy(tensors[_numbered("dense", number) + "/kernel"].copy()).t()
            state[f"{name}.bias"] = torch.from_numpy(tensors[_numbered("dense", number) + "/bias"].copy())
        for number, name in enumerate(NORMS):
            for theirs, ours in STATISTICS.items():
                values = tensors[f"{_numbered('batch_normalization', number)}/{theirs}"]
                state[f"{name}.{ours}"] = torch.from_numpy(values.copy())
            state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    except (KeyError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"these are not the tensors of a musicnn network: {error}") from error
    return state


def _of_network(name: str) -> bool:
    """Whether a tensor is of the network, not of its optimiser."""
    return name.rpartition("/")[2] in {"kernel", "bias", *STATISTICS}


def _numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive, whose size is checked before it is unpacked."""
    size = archive.getinfo(name).file_size
    if size > LARGEST:
        raise CheckpointError(f"{archive.filename}: {name} has {size:,} bytes, expected {LARGEST:,} at most")
    with archive.open(name) as file:
        return file.read(LARGEST)
