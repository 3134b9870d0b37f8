"""ONNX files of networks that take audio, whole and with linear layers in 8 bits, and sessions that run them.

The whole file has operations of the standard alone, so that any runtime reads it. The 8-bit one is for onnxruntime: its
own attention kernel, and in the blocks weights as int8 with a scale for each output, inputs as uint8 with a scale and a
zero point found as they come, one for the whole batch (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018). Weights use 7 of the 8 bits: processors without VNNI add pairs
of products in 16 bits, which would overflow.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.errors import CheckpointError, ExportError
from models.export import ExportForm
from models.files import replaced

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

OPSET = 20  # the first with GELU as one operation
LARGEST = 2**31 - 1  # bytes of a file without a second one for its weights
INPUT = "audio"
_SCOPES = "pkg.torch.onnx.name_scopes"


def write_onnx(
    path: str | Path,
    network: ExportForm,
    metadata: Mapping[str, str],
    int8: bool = False,
    any_length: bool = False,
) -> None:
    """Writes a file with the input `audio [batch, samples]` and the outputs that the form names: `logits` and
    `embeddings`, or `representation`.

    Args:
        path: Where to; replaced in one step.
        network: For `int8` a fused one.
        metadata: Properties that the file keeps.
        int8: Weights of the blocks in 8 bits.
        any_length: See `ExportForm.free_axes`.

    Raises:
        ExportError: The file would exceed 2 GB, or the network has no such form.
    """
    path = Path(path)
    if int8 and not network.rounded:
        raise ExportError("this network has no 8-bit form: export it with int8=False")
    model = _trace(network, any_length)
    if int8:
        model = _quantise(model, network.rounded)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    if (size := model.ByteSize()) > LARGEST:
        raise ExportError(f"the file would have {size:,} bytes, ONNX takes {LARGEST:,} in one: export fewer blocks")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as aside:
        aside.write_bytes(model.SerializeToString())


def open_onnx(path: str | Path, threads: int | None = None) -> InferenceSession:
    """A session on the CPU; None leaves the number of threads to onnxruntime.

    Raises:
        CheckpointError: It is missing, damaged, or no ONNX file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes of its own, one a reason
        raise CheckpointError(f"{path} is not a readable ONNX file: {str(error)[:200]}; export it again") from error


def audio_session(network: ExportForm, int8: bool = False, threads: int | None = None) -> InferenceSession:
    """A session of a network without a file that stays: for measuring. For `int8` a fused network."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(file, network, {}, int8)
        return open_onnx(file, threads)


def read_properties(path: str | Path) -> dict[str, str]:
    """The metadata of a file, as `write_onnx` was given it."""
    return dict(open_onnx(path).get_modelmeta().custom_metadata_map)


def quantised(model: ModelProto) -> list[str]:
    """Names of the products that a model does in 8 bits."""
    return [node.name.removesuffix("_quant") for node in model.graph.node if node.op_type == "MatMulInteger"]


def _trace(network: ExportForm, any_length: bool) -> ModelProto:
    axes = network.free_axes(any_length)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            network,
            (network.example(any_length),),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(axes,),
            input_names=[INPUT],
            output_names=list(network.names),
            verbose=False,
        )
    for node in program.model.graph:
        scopes = node.metadata_props.get(_SCOPES, "").strip("[]").split(", ")
        product = node.op_type == "MatMul" and node.inputs[1].is_initializer()
        if product and network.rounded and network.rounded in scopes[-2]:
            node.name = scopes[-2].strip("'\"")
        node.metadata_props.clear()
    return program.model_proto


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
