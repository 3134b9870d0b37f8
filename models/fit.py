"""Whether weights fit the network that a file describes, found out before memory is taken for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from models.errors import CheckpointError

SPARE = 16  # parameters that a network may have beyond those of its file


@contextmanager
def parameters_at_most(count: int, where: str) -> Iterator[None]:
    """Stop a network that is being built with more parameters than its file has.

    Raises:
        CheckpointError: On the first one too many.
    """
    seen = 0

    def see(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal seen
        seen += 1
        if seen > count + SPARE:
            raise CheckpointError(
                f"{where}: its weights do not fit its own description, a network of more than the {count} tensors "
                f"that it has"
            )

    handle = register_module_parameter_registration_hook(see)
    try:
        yield
    finally:
        handle.remove()


def check_shapes(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor], name: str, path: str | Path) -> None:
    """Refuse weights that a network does not take.

    Args:
        expected: Tensors that the network would have.
        actual: Tensors of the file.
        name: Of the network's class.
        path: Of the file.

    Raises:
        CheckpointError: One is missing, too many, or of another shape; names the first.
    """
    odd = sorted(expected.keys() ^ actual.keys())
    odd += sorted(key for key in expected.keys() & actual.keys() if expected[key].shape != actual[key].shape)
    if odd:
        shapes = [
            f"{key} {list(one[key].shape) if key in one else 'absent'}" for one in (actual, expected) for key in odd[:1]
        ]
        raise CheckpointError(
            f"{path}: its weights do not fit its own description of {name}: "
            f"{shapes[0]} in the file, {shapes[1]} described"
            f"{f', and {len(odd) - 1} more' if len(odd) > 1 else ''}"
        )
