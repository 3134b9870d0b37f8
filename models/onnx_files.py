"""ONNX files of networks that take audio, whole and with linear layers in 8 bits, and sessions that run them.

The whole file has operations of the standard alone, so that any runtime reads it. The 8-bit one is for onnxruntime: its
own attention kernel, and in the blocks weights as int8 with a scale for each output, inputs as uint8 with a scale and a
zero point found as they come, one for the whole batch (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018). Weights use 7 of the 8 bits: processors without VNNI add pairs
of products in 16 bits, which would overflow.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models.errors import ExportError
from models.export import ExportForm
from models.files import replaced
from models.frontends import FrontEnd
from models.onnx_sessions import FEATURES, INPUT, LOCAL, SETTLING, open_onnx

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

OPSET = 20  # the first with GELU as one operation
LARGEST = 2**31 - 1  # bytes of a file without a second one for its weights
SHARED = 1024  # bytes from which on tensors are kept once
_SCOPES = "pkg.torch.onnx.name_scopes"


def write_onnx(
    path: str | Path,
    network: ExportForm,
    metadata: Mapping[str, str],
    int8: bool = False,
    any_length: bool = False,
    frontend: FrontEnd | None = None,
) -> None:
    """Writes a file with the input `audio [batch, samples]` and the outputs that the form names: `logits` and
    `embeddings`, or `representation`.

    Args:
        path: Where to; replaced in one step.
        network: For `int8` a fused one.
        metadata: Properties that the file keeps.
        int8: Weights of the blocks in 8 bits.
        any_length: See `ExportForm.free_axes`.
        frontend: Of a network whose windows are cut from the features of recordings: kept as a property, and the file
            can be divided where features become windows (`models.onnx_sessions.NetworkHalf`).

    Raises:
        ExportError: The file would exceed 2 GB, or the network has no such form.
    """
    path = Path(path)
    if int8 and not network.rounded:
        raise ExportError("this network has no 8-bit form: export it with int8=False")
    of_recordings = {} if frontend is None else _of_recordings(frontend)
    model = _trace(network, any_length, divisible=bool(of_recordings))
    if int8:
        model = _quantise(model, network.rounded)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    for key, value in _without_shared(of_recordings, model).items():
        model.metadata_props.add(key=key, value=value)
    if (size := model.ByteSize()) > LARGEST:
        raise ExportError(f"the file would have {size:,} bytes, ONNX takes {LARGEST:,} in one: export fewer blocks")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as aside:
        aside.write_bytes(model.SerializeToString())


def audio_session(network: ExportForm, int8: bool = False, threads: int | None = None) -> InferenceSession:
    """A session of a network without a file that stays: for measuring. For `int8` a fused network."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(file, network, {}, int8)
        return open_onnx(file, threads)


def quantised(model: ModelProto) -> list[str]:
    """Names of the products that a model does in 8 bits."""
    return [node.name.removesuffix("_quant") for node in model.graph.node if node.op_type == "MatMulInteger"]


class _Divided(nn.Module):
    """A form that gives its frames, too."""

    def __init__(self, form: ExportForm) -> None:
        super().__init__()
        self.form = form

    def forward(self, audio: Tensor) -> tuple[Tensor, ...]:
        frames = self.form.frames_of(audio)
        return *self.form.of_frames(frames), frames


class _Settled(nn.Module):
    """What a front end does with the frames of a whole recording."""

    def __init__(self, frontend: FrontEnd) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, frames: Tensor) -> Tensor:
        return self.frontend.settle(frames)


def _trace(network: ExportForm, any_length: bool, divisible: bool = False) -> ModelProto:
    module, names = (_Divided(network), [*network.names, FEATURES]) if divisible else (network, list(network.names))
    program = _program(module, network.example(any_length), network.free_axes(any_length), INPUT, names)
    for node in program.model.graph:
        scopes = node.metadata_props.get(_SCOPES, "").strip("[]").split(", ")
        product = node.op_type == "MatMul" and node.inputs[1].is_initializer()
        if product and network.rounded and network.rounded in scopes[-2]:
            name = scopes[-2].strip("'\"")
            node.name = name[name.index(network.rounded) :]  # without the modules that hold the network
        node.metadata_props.clear()
    if divisible:
        program.model.graph.outputs.pop()  # the value keeps its name
    return program.model_proto


def _program(
    module: nn.Module, example: Tensor, axes: Mapping[int, Any], given: str, names: list[str]
) -> torch.onnx.ONNXProgram:
    with torch.no_grad(), _quiet():
        return torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(dict(axes),),
            input_names=[given],
            output_names=names,
            verbose=False,
        )


def _of_recordings(frontend: FrontEnd) -> dict[str, ModelProto]:
    """The front end for recordings of any length, by the properties that keep it.

    Raises:
        ExportError: It cannot be written.
    """
    audio = torch.zeros(1, max(2 * frontend.min_samples, frontend.sample_rate))
    parts = {LOCAL: (frontend.exportable_local(), audio)}
    if frontend.of_recording:
        parts[SETTLING] = (_Settled(frontend), frontend.local(audio))
    axes = {1: torch.export.Dim("length", min=2)}
    try:
        return {
            key: _program(module.eval(), example, axes, INPUT, [FEATURES]).model_proto
            for key, (module, example) in parts.items()
        }
    except Exception as error:  # of whatever a front end of one's own is made of
        raise ExportError(f"the front end {frontend.name} cannot be written for any length: {error}") from error


def _without_shared(parts: Mapping[str, ModelProto], model: ModelProto) -> dict[str, str]:
    """Files as text, without the large tensors that a model has as well, whose names stand in their place."""
    known = {one.raw_data: one.name for one in model.graph.initializer if len(one.raw_data) >= SHARED}
    for tensor in (one for part in parts.values() for one in part.graph.initializer):
        if tensor.raw_data in known:
            tensor.doc_string = known[tensor.raw_data]
            tensor.ClearField("raw_data")
    return {key: base64.b64encode(part.SerializeToString()).decode("ascii") for key, part in parts.items()}


def _quantise(model: ModelProto, rounded: str) -> ModelProto:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    del model.graph.value_info[:]  # shapes of what the tool transposes
    names = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.name.startswith(rounded)]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "quantised.onnx"
        quantize_dynamic(
            model,
            file,
            nodes_to_quantize=names,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        smaller = onnx.load(file)
    if missing := set(names) - set(quantised(smaller)):
        raise ExportError(f"onnxruntime left {len(missing)} products in 32 bits, {min(missing)} for instance")
    return smaller


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell of every step on several loggers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
