"""TensorFlow checkpoints and the wheel of musicnn, written by the tests themselves."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.releases import RELEASES
from models.tensorflow_checkpoint import MAGIC, TYPES, checksum

KINDS = {np.dtype(name): kind for kind, name in TYPES.items()}
HEADER = b"\x08\x01\x1a\x02\x08\x01"  # one piece, little-endian, version 1
LICENCE = b"Permission to use, copy, modify"


def varint(value: int) -> bytes:
    """A number of 7 bits a byte, the lowest first."""
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(shape: tuple[int, ...], offset: int, size: int, kind: int = 1, crc: int = 0) -> bytes:
    """What the index says of a tensor."""
    dimensions = b"".join(field(2, field(1, size)) for size in shape)
    about = field(1, kind) + field(2, dimensions) + field(4, offset) + field(5, size)
    return about + varint(6 << 3 | 5) + struct.pack("<I", crc)


def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Keys, of which each shares a beginning with the one before, and values; every fourth begins anew."""
    content, restarts, before = b"", [], b""
    for number, (key, value) in enumerate(pairs):
        if number % 4 == 0:
            restarts.append(len(content))
            before = b""
        shared = next(
            (at for at, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), min(len(before), len(key))
        )
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return content + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(pairs: Mapping[bytes, bytes], change: Callable[[bytes], bytes] = bytes, size: int = 8) -> bytes:
    """A table of blocks of so many entries; `change` is applied to every block before its checksum is."""
    ordered, content, places = sorted(pairs.items()), b"", []

    def add(pairs: list[tuple[bytes, bytes]]) -> bytes:
        nonlocal content
        body = change(block(pairs))
        place = varint(len(content)) + varint(len(body))
        content += body + b"\0" + struct.pack("<I", checksum(body + b"\0"))
        return place

    for start in range(0, len(ordered), size):
        part = ordered[start : start + size]
        places.append((part[-1][0], add(part)))
    meta = add([])
    footer = meta + add(places)
    return content + footer.ljust(40, b"\0") + MAGIC


def checkpoint(tensors: Mapping[str, np.ndarray], change: Callable[[bytes], bytes] = bytes) -> tuple[bytes, bytes]:
    """The files `.index` and `.data-00000-of-00001`."""
    data, pairs = b"", {b"": HEADER}
    for name, tensor in sorted(tensors.items()):
        content = np.ascontiguousarray(tensor).tobytes()
        pairs[name.encode()] = entry(tensor.shape, len(data), len(content), KINDS[tensor.dtype], checksum(content))
        data += content
    return table(pairs, change), data


def musicnn_tensors(timbral: int, temporal: int, channels: int, hidden: int, classes: int, seed: int = 0) -> dict:
    """Random tensors under the names that TensorFlow gave them; [frames, bands, in, out] of convolutions."""
    generator = np.random.default_rng(seed)
    front = 2 * timbral + 3 * temporal
    pooled = 2 * (front + 3 * channels)
    kernels = [(7, 38, 1, timbral), (7, 67, 1, timbral), *((frames, 1, 1, temporal) for frames in (128, 64, 32))]
    kernels += [(7, front, 1, channels), (7, channels, 1, channels), (7, channels, 1, channels)]
    shapes = {f"conv2d{f'_{number}' if number else ''}": shape for number, shape in enumerate(kernels)}
    shapes |= {"dense": (pooled, hidden), "dense_1": (hidden, classes)}
    tensors = {"beta1_power": np.float32(0.9), "dense/kernel/Adam": np.zeros((pooled, hidden))}
    for name, shape in shapes.items():
        tensors[f"{name}/kernel"] = generator.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
        tensors[f"{name}/bias"] = generator.normal(0, 0.1, shape[-1])
    widths = [1, *(shape[-1] for shape in kernels), pooled, hidden]
    for number, width in enumerate(widths):
        name = f"batch_normalization{f'_{number}' if number else ''}"
        tensors[f"{name}/gamma"] = generator.uniform(0.5, 1.5, width) * generator.choice([-1, 1], width)
        tensors[f"{name}/beta"] = generator.normal(0, 0.1, width)
        tensors[f"{name}/moving_mean"] = generator.normal(0, 0.1, width)
        tensors[f"{name}/moving_variance"] = generator.uniform(0.5, 2, width)
    return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}


def write_wheel(path: Path, models: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """A wheel with a folder a model, and the licence."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("musicnn-0.1.0.dist-info/LICENSE.md", LICENCE)
        for member, tensors in models.items():
            index, data = checkpoint(tensors)
            archive.writestr(f"musicnn/{member}/.index", index)
            archive.writestr(f"musicnn/{member}/.data-00000-of-00001", data)
    return path


SIZES = {"timbral_channels": 6, "temporal_channels": 4, "channels": 5, "hidden": 8}
TENSORS = {name: musicnn_tensors(6, 4, 5, 8, 50, seed) for seed, name in enumerate(("MTT_musicnn", "MSD_musicnn"))}


def small_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with small networks of both corpora, in the place of the published one; and an empty cache."""
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    path = write_wheel(tmp_path / "musicnn-0.1.0-py3-none-any.whl", TENSORS)
    about = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    for name, release in list(RELEASES.items()):
        if release.package:
            monkeypatch.setitem(RELEASES, name, replace(release, **about, arguments={**release.arguments, **SIZES}))
    return path
