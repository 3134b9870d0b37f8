"""Networks that take audio as programs of `torch.export`: one file that runs without this code."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from models.descriptions import read_object
from models.errors import CheckpointError
from models.export import ExportForm
from models.files import replaced

_METADATA = "metadata.json"


def write_program(path: str | Path, network: ExportForm, metadata: Mapping[str, str], any_length: bool = False) -> None:
    """Writes a `.pt2` file with the signature of `ExportForm.forward`.

    Args:
        path: Where to; replaced in one step.
        network: Not a fused one.
        metadata: Kept in the file as `metadata.json`.
        any_length: See `ExportForm.free_axes`.

    Raises:
        ExportError: It takes windows of one length alone.
    """
    path = Path(path)
    axes = network.free_axes(any_length)
    with torch.no_grad():
        program = torch.export.export(network, (network.example(any_length),), dynamic_shapes=(axes,))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path, ".new.pt2") as aside:  # torch wants that suffix
        torch.export.save(program, aside, extra_files={_METADATA: json.dumps(dict(metadata))})


def open_program(path: str | Path) -> tuple[Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]], dict]:
    """The function of a file that `write_program` wrote, and its metadata.

    Raises:
        CheckpointError: It is missing, damaged, or no such file.
    """
    found = {_METADATA: ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        try:
            program = torch.export.load(path, extra_files=found).module()
        except Exception as error:  # torch can raise almost anything over a damaged file
            raise CheckpointError(f"{path} is not a readable program: {str(error)[:200]}; export it again") from error
    return program, read_object(found[_METADATA], f"{path}: its {_METADATA}")
