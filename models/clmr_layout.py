"""The tensors of published CLMR and TUNe encoders, as their programs name them in each kind of file that they leave.

| file                      | names                                                                                    |
|---------------------------|------------------------------------------------------------------------------------------|
| Lightning checkpoint      | `model.encoder.*`, the same again as `encoder.*`, and `model.projector.*`                |
| checkpoint of CLMR 1.0    | `encoder.*` and `projector.*`; the oldest call block n `conv{n}` for `sequential.{n-1}`  |
| trained head, Lightning   | `model.0.*` and, of a hidden layer, `model.2.*`                                          |
| trained head, or encoder  | the same without a prefix                                                                |
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from models.errors import CheckpointError
from models.initial_weights import State, first_keys
from models.layouts import ENCODER, OTHERS

OLDEST = re.compile(r"conv(\d+)\.(?=[01]\.)")
PROJECTOR = ("projector.0.weight", "projector.2.weight")  # of the training alone
HEAD = re.compile(r"[02]\.(weight|bias)")
OWN_HEAD = re.compile(r"fc\.([02]\.)?(weight|bias)")


@dataclass(frozen=True)
class Published:
    """What such a file holds.

    Attributes:
        encoder: Tensors by the names of today's programs, without prefixes; all that is neither of the following.
        head: Of a classifier, as `weight` and `bias`, of one with a hidden layer as `0.weight`, `2.weight`, ...
        prefix: What stands before the names of the encoder in the file.
        oldest: Whether blocks have the oldest names there.
    """

    encoder: State
    head: State
    prefix: str = ""
    oldest: bool = False

    def shown(self, name: str) -> str:
        """What a tensor of the encoder is called in the file."""
        if self.oldest:
            name = re.sub(r"^sequential\.(\d+)", lambda found: f"conv{int(found[1]) + 1}", name)
        return self.prefix + name


def read_layout(state: Mapping[str, Tensor]) -> Published:
    """Tensors of an encoder and of a head, whatever the kind of file; neither is checked."""
    prefix = next((one for one in (OTHERS + ENCODER, ENCODER) if any(key.startswith(one) for key in state)), "")
    encoder, head, oldest = {}, {}, False
    for key, tensor in state.items():
        if prefix == OTHERS + ENCODER and key.startswith(ENCODER):
            continue  # the same again
        name = key.removeprefix(OTHERS)
        if name in PROJECTOR:
            continue
        if HEAD.fullmatch(name):
            head[name] = tensor
            continue
        name = name.removeprefix(ENCODER)
        if OWN_HEAD.fullmatch(name):
            head[name.removeprefix("fc.")] = tensor
            continue
        today = OLDEST.sub(lambda found: f"sequential.{int(found[1]) - 1}.", name)
        oldest = oldest or today != name
        encoder[today] = tensor
    return Published(encoder, _linear(head), prefix, oldest)


def _linear(head: State) -> State:
    """A head of one layer by the names of that layer."""
    alone = not any(key.startswith("2.") for key in head)
    return {key.removeprefix("0.") if alone else key: tensor for key, tensor in head.items()}


def head_arguments(head: Mapping[str, Tensor]) -> dict[str, int]:
    """Arguments of a network that a head is for: `n_classes`, and `hidden` where it has a hidden layer.

    Raises:
        CheckpointError: These are not the tensors of a linear layer, or of two; names what is missing or has another
            shape.
    """
    layers = ("0.", "2.") if any(key.startswith(("0.", "2.")) for key in head) else ("",)
    expected = [f"{layer}{part}" for layer in layers for part in ("weight", "bias")]
    missing, unexpected = [key for key in expected if key not in head], [key for key in head if key not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"{first_keys('missing', missing)}{first_keys('unexpected', unexpected)}expected the tensors of a linear "
            f"layer, 0.weight and 0.bias, or of two, 0 and 2; all of them may begin with model."
        )
    for layer in layers:
        weight, bias = head[f"{layer}weight"], head[f"{layer}bias"]
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise CheckpointError(
                f"{layer}weight has the shape {list(weight.shape)} and {layer}bias {list(bias.shape)}: expected "
                f"[outputs, inputs] and [outputs]"
            )
    if layers == ("0.", "2.") and head["2.weight"].shape[1] != len(head["0.weight"]):
        raise CheckpointError(
            f"2.weight has the shape {list(head['2.weight'].shape)}: expected {len(head['0.weight'])} inputs, as many "
            f"as 0.weight has outputs"
        )
    hidden = len(head["0.weight"]) if len(layers) > 1 else 0
    return {"n_classes": len(head[f"{layers[-1]}weight"]), "hidden": hidden}


def check_strictly(found: Published, expected: Mapping[str, Tensor], what: str) -> None:
    """Refuse an encoder that is not complete, has more, or tensors of other shapes.

    Args:
        found: Of a file.
        expected: By the names of the encoder; only shapes count.
        what: What it should be of.

    Raises:
        CheckpointError: Names the tensors as the file does.
    """
    missing = [found.shown(key) for key in expected if key not in found.encoder]
    unexpected = [found.shown(key) for key in found.encoder if key not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"not the tensors of {what}: {first_keys('missing', missing)}{first_keys('unexpected', unexpected)}"
            f"expected {len(expected)} by name; was the file changed, or cut?"
        )
    for key, tensor in expected.items():
        if found.encoder[key].shape != tensor.shape:
            raise CheckpointError(
                f"{found.shown(key)} has the shape {list(found.encoder[key].shape)}, expected {list(tensor.shape)} as "
                f"the other tensors are those of {what}"
            )


def width_of(state: Mapping[str, Tensor], block: str) -> int:
    """Channels of a block, as most of its vectors have them; 1 where there are none."""
    lengths = [len(tensor) for key, tensor in state.items() if key.startswith(f"{block}.") and tensor.ndim == 1]
    return statistics.mode(lengths) if lengths and min(lengths) else 1
