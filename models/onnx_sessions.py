"""Sessions that run ONNX files of this project, without PyTorch.

A file takes windows of audio. Where a network is to see windows of the features of a whole recording, the file is
divided: the front end, which takes recordings of any length, is a property of it, and the rest begins at the value
called `features`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import CheckpointError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto
    from onnxruntime import InferenceSession

INPUT = "audio"
FEATURES = "features"  # value of a divisible file: frames of the front end, not yet normalised
# Or onnxruntime tells its makers of every model that it opens (its Privacy.md). It is read when that is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
LOCAL, SETTLING = "front_end_onnx", "settling_onnx"  # properties: the front end of recordings, in one step or two


def open_onnx(source: str | Path | bytes, threads: int | None = None) -> InferenceSession:
    """A session on the CPU; None leaves the number of threads to onnxruntime.

    Args:
        source: A file, or its content.
        threads: Of one run.

    Raises:
        CheckpointError: It is missing, damaged, or no ONNX file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    given = source if isinstance(source, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes of its own, one a reason
        name = "the content" if isinstance(source, bytes) else source
        raise CheckpointError(f"{name} is not a readable ONNX file: {str(error)[:200]}; export it again") from error


def read_properties(path: str | Path) -> dict[str, str]:
    """The metadata of a file, as `models.onnx_files.write_onnx` was given it."""
    return dict(open_onnx(path).get_modelmeta().custom_metadata_map)


@dataclass(frozen=True)
class DividedFile:
    """A file in its parts.

    Attributes:
        model: The whole file.
    """

    model: ModelProto

    @classmethod
    def read(cls, path: str | Path) -> DividedFile:
        """Read a file.

        Raises:
            CheckpointError: It cannot be read, or cannot be divided.
        """
        import onnx

        try:
            model = onnx.load(str(path), load_external_data=False)
        except Exception as error:  # of protobuf, of the system
            raise CheckpointError(f"{path} is not a readable ONNX file: {str(error)[:200]}; export it again") from error
        read = cls(model)
        if LOCAL not in read.properties or not any(FEATURES in node.output for node in model.graph.node):
            raise CheckpointError(f"{path} cannot be divided into front end and network; export it again")
        return read

    @cached_property
    def properties(self) -> dict[str, str]:
        """The metadata."""
        return {one.key: one.value for one in self.model.metadata_props}

    def front_end(self) -> list[bytes]:
        """The front end of recordings, `[1, samples]` to `[1, frames, ...]`, as one ONNX file; or as two, of which the
        first takes pieces of a recording, and the second what the first gives of all of it.

        Raises:
            CheckpointError: The property is damaged.
        """
        tensors = {one.name: one for one in self.model.graph.initializer}
        return [_completed(key, self.properties[key], tensors) for key in (LOCAL, SETTLING) if key in self.properties]

    def network(self, item_shape: Sequence[int]) -> bytes:
        """What comes behind the front end, as an ONNX file with the input `features [batch, frames, *item_shape]`.

        Where shapes are taken from the audio, `audio` stays an input, of which no value is looked at.
        """
        import onnx
        from onnx.helper import make_tensor_value_info

        whole = self.model.graph
        needed, nodes = {one.name for one in whole.output}, []
        for node in reversed(whole.node):
            if needed.intersection(node.output) and FEATURES not in node.output:
                nodes.append(node)
                needed.update(_read(node))
        shape = ["batch", "frames", *item_shape]
        graph = onnx.GraphProto(name=whole.name)
        graph.node.extend(reversed(nodes))
        graph.input.extend(one for one in whole.input if one.name in needed)
        graph.input.append(make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, shape))
        graph.output.extend(whole.output)
        graph.initializer.extend(one for one in whole.initializer if one.name in needed)
        model = onnx.ModelProto(ir_version=self.model.ir_version, graph=graph)
        model.opset_import.extend(self.model.opset_import)
        model.functions.extend(self.model.functions)
        return model.SerializeToString()


def _completed(key: str, text: str, tensors: Mapping[str, TensorProto]) -> bytes:
    """A file that is kept as text, with the tensors that it shares with another."""
    import onnx

    try:
        part = onnx.ModelProto.FromString(base64.b64decode(text, validate=True))
        for tensor in part.graph.initializer:
            if tensor.doc_string:
                tensor.raw_data = tensors[tensor.doc_string].raw_data
    except Exception as error:  # of base64, of protobuf
        raise CheckpointError(f"the property {key} is damaged ({type(error).__name__}): export it again") from None
    return part.SerializeToString()


def _read(node: NodeProto) -> Iterator[str]:
    """Names of the values that a node takes, those that the graphs inside of it take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        graphs: list[GraphProto] = [attribute.g, *attribute.graphs]
        for inner in (one for graph in graphs for one in graph.node):
            yield from _read(inner)
