"""Files of weights, in the layouts in which they are found.

A layout is a flat dictionary of tensors, one wrapped under `model` (as DeiT is published), or a Lightning checkpoint
whose `state_dict` holds a network under the prefix `net.` and, where weights were averaged, another under `net_swa.`.
Only tensors and plain values are ever unpickled.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from models.descriptions import read_object
from models.errors import CheckpointError
from models.files import replaced
from models.maest.grid import PATCH
from models.pickle_check import check_pickle

HEADER = "ostinato"
PLAIN, AVERAGED = "net.", "net_swa."
PROGRAMS = (".onnx", ".pt2")
State = dict[str, torch.Tensor]
_HEAD_WIDTH = 64
_PUBLISHED_GRIDS = {  # rows and columns of positions -> bands, frames, stride
    (9, 31): (96, 312, 10),
    (9, 62): (96, 625, 10),
    (9, 125): (96, 1250, 10),
    (9, 187): (96, 1875, 10),
    (12, 99): (128, 998, 10),
    (10, 83): (128, 998, 12),
    (9, 71): (128, 998, 14),
    (8, 62): (128, 998, 16),
    (12, 200): (128, 2000, 10),
    (12, 300): (128, 3000, 10),
}


@dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
        state: Tensors under the names that the network gives them.
        layout: Where in the file they were found, in words.
        header: What the file says about them: the header of our own files, `hyper_parameters` of a Lightning
            checkpoint, or the configuration of a Hugging Face folder.
        notes: Tensors that reading changed, with the change in words.
        absent: Beginnings of names that a layout has no place for.
    """

    state: State
    layout: str
    header: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


def read_weights(path: str | Path, averaged: bool | None = None) -> Weights:
    """Reads a file of weights.

    Args:
        path: A `.safetensors` file or one written by `torch.save`.
        averaged: Which network of a Lightning checkpoint: True the averaged one, False the plain one, None the averaged
            one where there is one.

    Raises:
        CheckpointError: If the file cannot be read, or does not hold what was asked for.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file of weights {path}")
    if path.suffix in PROGRAMS:
        raise CheckpointError(f"{path} is an exported program, which cannot be taken apart; give what it was made from")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_pickled(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dictionary of tensors")
    if isinstance(content.get("state_dict"), dict):
        state, layout = _choose(content["state_dict"], averaged, path)
        header = content.get("hyper_parameters", {})
        return Weights(_tensors(state, path), layout, dict(header) if isinstance(header, dict) else {})
    if isinstance(content.get("model"), dict):
        return Weights(_tensors(content["model"], path), "the dictionary under 'model'")
    return Weights(_tensors(content, path), "a flat dictionary")


def write_safetensors(path: Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors to a file that is replaced in one step, with the permissions of any other new file."""
    content = save({key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}, dict(metadata))
    with replaced(path) as aside:
        aside.write_bytes(content)


def published_settings(state: State) -> dict[str, Any] | None:
    """Arguments of `MAEST` told by the shapes of a published file; None if it is not one.

    Stride, bands and length follow from the grid of positions; 64 values per head and the head on the mean of both
    tokens are taken for granted.
    """
    try:
        dim, rows = state["freq_new_pos_embed"].shape[1:3]
        positions = state["time_new_pos_embed"].shape[3]
        hidden = state["blocks.0.mlp.fc1.weight"].shape[0]
        classes, second = state["head.1.weight"].shape[0], state["head_dist.weight"].shape[0]
    except (KeyError, IndexError, ValueError):
        return None
    if 0 in (dim, rows, positions):
        return None
    usual = (PATCH + 10 * (rows - 1), PATCH + 10 * (positions - 1), 10)
    bands, frames, stride = _PUBLISHED_GRIDS.get((rows, positions), usual)
    return {
        "n_classes": classes,
        **({} if second == classes else {"n_classes_dist": second}),
        "n_bands": bands,
        "n_frames": frames,
        "stride_f": stride,
        "stride_t": stride,
        "time_positions": positions,
        "dim": dim,
        "heads": max(dim // _HEAD_WIDTH, 1),
        "depth": len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        "mlp_ratio": hidden / dim,
    }


def load_pickled(path: str | Path, map_location: Any = "cpu", mmap: bool = False) -> Any:
    """What `torch.save` wrote, with nothing run or allocated that the file does not hold.

    Args:
        path: The file.
        map_location: See `torch.load`.
        mmap: Leave the tensors on the disk.

    Raises:
        CheckpointError: If it is damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    check_pickle(path)
    try:
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))  # torch's own words recommend to load it all the same
        raise CheckpointError(
            f"{path} is not a file of weights, damaged, or holds more than tensors and plain values"
            f"{f' ({found[1]})' if found else ''}, and is not loaded for safety; "
            f"save its state_dict alone where it comes from"
        ) from None
    except Exception as error:  # torch can raise almost anything over a damaged file
        raise CheckpointError(f"{path} is not a readable file of weights: {_first_line(error)}") from error


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = load_file(path)
    except Exception as error:  # of the library, of the disk, or a type of numbers that torch does not have
        raise CheckpointError(f"{path} is not a readable safetensors file: {_first_line(error)}") from error
    header = read_object(metadata.get(HEADER, "{}"), f"{path}: its header {HEADER!r}")
    return Weights(state, "safetensors", header)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _choose(state: dict[str, Any], averaged: bool | None, path: Path) -> tuple[dict[str, Any], str]:
    """The network inside a Lightning `state_dict`, by prefix."""
    present = [prefix for prefix in (AVERAGED, PLAIN) if any(str(key).startswith(prefix) for key in state)]
    wanted = {True: [AVERAGED], False: [PLAIN], None: [AVERAGED, PLAIN]}[averaged]
    chosen = next((prefix for prefix in wanted if prefix in present), None)
    if chosen is None:
        raise CheckpointError(
            f"{path}: no key of its state_dict starts with {' or '.join(wanted)}; it has "
            f"{', '.join(present) or 'neither'} (first key: {next(iter(state), 'none')}); "
            f"choose averaged or plain weights accordingly"
        )
    network = {str(key).removeprefix(chosen): value for key, value in state.items() if str(key).startswith(chosen)}
    return network, f"the prefix {chosen} of a Lightning checkpoint"


def _tensors(state: dict[str, Any], path: Path) -> State:
    others = [key for key, value in state.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if others or not state:
        raise CheckpointError(
            f"{path}: expected tensors by name, found {', '.join(map(str, others[:3])) or 'nothing'}; "
            f"known layouts are a flat dictionary, one under 'model', and a Lightning checkpoint"
        )
    return dict(state)
