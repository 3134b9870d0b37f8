"""Files of weights, in the layouts in which they are found.

A layout is a flat dictionary of tensors, one wrapped under `model` (as DeiT is published), or a Lightning checkpoint
whose `state_dict` holds a network under the prefix `net.` and, where weights were averaged, another under `net_swa.`;
what its front end has learned stands beside them under `inputs.frontend.`, averaged under `inputs_swa.frontend.`. Names
of contrastive encoders of other programs (`models.clmr_layout`) are left as they are.
Only tensors and plain values are ever unpickled.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from models.descriptions import THRESHOLDS, read_object
from models.errors import CheckpointError
from models.files import replaced
from models.initial_weights import State
from models.pickle_check import NUMPY, check_pickle

HEADER = "ostinato"
PLAIN, AVERAGED = "net.", "net_swa."
OTHERS = "model."  # of other programs' Lightning checkpoints, if all names begin so
ENCODER = "encoder."  # of such checkpoints, beside or behind that prefix
FRONTEND = "frontend."  # of our own files
FRONTENDS = {PLAIN: ("inputs.frontend.",), AVERAGED: ("inputs_swa.frontend.", "inputs.frontend.")}
PROGRAMS = {".onnx": "ONNX files are for onnxruntime", ".pt2": "exported programs are for torch.export.load"}


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
        frontend: Tensors of a front end with parameters, under the names that the front end gives them.
    """

    state: State
    layout: str
    header: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    frontend: State = field(default_factory=dict)


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
        raise CheckpointError(f"{path}: {PROGRAMS[path.suffix]}; give the run or the file that it was exported from")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _content(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dictionary of tensors")
    if isinstance(content.get("state_dict"), dict):
        chosen = _choose(content["state_dict"], averaged, path)
        header = content.get("hyper_parameters", {})
        header = dict(header) if isinstance(header, dict) else {}
        if chosen == PLAIN and any(str(key).startswith(AVERAGED) for key in content["state_dict"]):
            header.pop(THRESHOLDS, None)  # those of the average
        return Weights(
            _tensors(_below(content["state_dict"], chosen), path),
            f"the prefix {chosen} of a Lightning checkpoint" if chosen else "a Lightning checkpoint",
            header,
            frontend=_frontend(content["state_dict"], chosen, path),
        )
    if isinstance(content.get("model"), dict):
        return Weights(_tensors(content["model"], path), "the dictionary under 'model'")
    return Weights(_tensors(content, path), "a flat dictionary")


def write_safetensors(path: Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors to a file that is replaced in one step, with the permissions of any other new file."""
    content = save({key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}, dict(metadata))
    with replaced(path) as aside:
        aside.write_bytes(content)


class Unread:
    """Stands for a value of numpy: whatever a file says of it is dropped."""

    def __init__(self, *arguments: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def load_pickled(path: str | Path, map_location: Any = "cpu", mmap: bool = False, numpy: bool = False) -> Any:
    """What `torch.save` wrote, with nothing run or allocated that the file does not hold.

    Args:
        path: The file.
        map_location: See `torch.load`.
        mmap: Leave the tensors on the disk.
        numpy: Read numpy's values as `Unread`; nothing of numpy runs. Else such a file is refused.

    Raises:
        CheckpointError: If it is damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    check_pickle(path, numpy)
    unread = [(Unread, name) for name in NUMPY] if numpy else []
    try:
        with torch.serialization.safe_globals(unread):
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


def write_pickled(path: Path, content: Mapping[str, Any]) -> None:
    """Save, so that the path holds either the old file or the whole new one, on the disk; its folder is made.

    Raises:
        OSError: It cannot be written.
        RuntimeError: Likewise, of torch's file writer, over a full disk for instance.
    """
    aside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as handle:
            torch.save(content, handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(aside, path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _content(path: Path) -> Any:
    """All of a file, or what is under `model` alone where values of numpy stand beside it, such as a sampler's."""
    try:
        return load_pickled(path)
    except CheckpointError:
        with contextlib.suppress(CheckpointError):
            content = load_pickled(path, numpy=True)
            if isinstance(content, dict) and isinstance(content.get("model"), dict):
                return {"model": content["model"]}
        raise


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = load_file(path)
    except Exception as error:  # of the library, of the disk, or a type of numbers that torch does not have
        raise CheckpointError(f"{path} is not a readable safetensors file: {_first_line(error)}") from error
    header = read_object(metadata.get(HEADER, "{}"), f"{path}: its header {HEADER!r}")
    learned = _below(state, FRONTEND) if header else {}
    state = {key: tensor for key, tensor in state.items() if not (learned and key.startswith(FRONTEND))}
    return Weights(state, "safetensors", header, frontend=learned)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _choose(state: dict[str, Any], averaged: bool | None, path: Path) -> str:
    """Prefix of the network inside a Lightning `state_dict`."""
    present = [prefix for prefix in (AVERAGED, PLAIN) if _has(state, prefix)]
    wanted = {True: [AVERAGED], False: [PLAIN], None: [AVERAGED, PLAIN]}[averaged]
    if not present and not averaged and state and all(str(key).startswith(OTHERS) for key in state):
        return OTHERS
    if not present and not averaged and _has(state, OTHERS) and (_has(state, ENCODER) or _has(state, OTHERS + ENCODER)):
        return ""
    chosen = next((prefix for prefix in wanted if prefix in present), None)
    if chosen is None:
        raise CheckpointError(
            f"{path}: no key of its state_dict starts with {' or '.join(wanted)}; it has "
            f"{', '.join(present) or 'neither'} (first key: {next(iter(state), 'none')}); "
            f"choose averaged or plain weights accordingly"
        )
    return chosen


def _has(state: dict[str, Any], prefix: str) -> bool:
    return any(str(key).startswith(prefix) for key in state)


def _below(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {str(key).removeprefix(prefix): value for key, value in state.items() if str(key).startswith(prefix)}


def _frontend(state: dict[str, Any], chosen: str, path: Path) -> State:
    """What the front end learned that belongs to the chosen network."""
    learned = next(filter(None, (_below(state, prefix) for prefix in FRONTENDS.get(chosen, ()))), {})
    return _tensors(learned, path) if learned else {}


def _tensors(state: dict[str, Any], path: Path) -> State:
    others = [key for key, value in state.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if others or not state:
        raise CheckpointError(
            f"{path}: expected tensors by name, found {', '.join(map(str, others[:3])) or 'nothing'}; "
            f"known layouts are a flat dictionary, one under 'model', and a Lightning checkpoint"
        )
    return dict(state)
