"""An audio encoder of Hugging Face's `transformers` from a folder: windows of samples to pooled hidden states."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

PACKAGE = "transformers>=5,<6"
UNUSED = ("masked_spec_embed", "pooler")  # parts of a network that hidden states do not go through


class EncoderError(ValueError):
    """An encoder that cannot be loaded or used."""


@dataclass(frozen=True)
class HuggingFaceEncoder:
    """A network with what prepares its input.

    Attributes:
        network: Gives `hidden_states`, the input of the first block and the output of every one.
        prepare: The feature extractor.
        sample_rate: Hz, of the audio it takes.
        depth: Number of blocks.
        size: Values of a hidden state.
        seconds: Of the windows it takes; None: any.
        has_cls: Whether the first position is a token of its own.
        digest: Of its settings and weights.
    """

    network: torch.nn.Module
    prepare: Any
    sample_rate: int
    depth: int
    size: int
    seconds: float | None
    has_cls: bool
    digest: str


def load_encoder(folder: Path, device: str = "cpu") -> HuggingFaceEncoder:
    """Load an encoder from a folder on this machine; code that comes with it is not run, pickles are not read.

    Raises:
        EncoderError: `transformers` is missing, the folder holds no audio encoder that it can load, or there is no
            such device.
    """
    try:
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise EncoderError(f"encoders of Hugging Face need a package: pip install '{PACKAGE}' ({error})") from error
    _check_folder(folder)
    if device == "cuda" and not torch.cuda.is_available():
        raise EncoderError("device=cuda: there is no GPU that PyTorch can use here; use auto or cpu")
    disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        prepare = AutoFeatureExtractor.from_pretrained(folder, **local)
        network, loaded = AutoModel.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **local
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EncoderError(f"{folder}: transformers cannot load it: {reason}") from error
    if missing := sorted(name for name in loaded["missing_keys"] if not any(part in name for part in UNUSED)):
        raise EncoderError(
            f"{folder}: the weights lack {len(missing)} tensors of {type(network).__name__}, such as {missing[0]}, "
            f"which would be random; is config.json that of these weights?"
        )
    if getattr(config, "is_encoder_decoder", False):
        network = network.get_encoder()
    size, depth = getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None)
    rate = getattr(prepare, "sampling_rate", None)
    if not all((size, depth, rate)):
        raise EncoderError(f"{folder}: {type(network).__name__} is no encoder of audio with hidden states of one size")
    has_cls = any(name.endswith("cls_token") for name, _ in network.named_parameters())
    network = network.to(device).eval()
    return HuggingFaceEncoder(network, prepare, rate, depth, size, _own_seconds(prepare), has_cls, _digest(folder))


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{folder}: no config.json; give the folder of an encoder, nothing is downloaded")
    if not list(folder.glob("*.safetensors")):
        others = ", ".join(sorted(one.name for one in folder.glob("*.bin"))) or "none of another kind either"
        raise EncoderError(
            f"{folder}: no weights in *.safetensors ({others}); .bin files are pickles and are not read: "
            f"convert them, as save_pretrained of transformers does"
        )


def _own_seconds(prepare: Any) -> float | None:
    """The length of audio that the input is cut or padded to."""
    if chunk := getattr(prepare, "chunk_length", None):
        return float(chunk)
    frames = getattr(prepare, "max_length", None)
    return frames * 0.01 if isinstance(frames, int) and hasattr(prepare, "num_mel_bins") else None


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(
        [folder / "config.json", *folder.glob("preprocessor_config.json"), *folder.glob("*.safetensors")]
    ):
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]


def windows(samples: np.ndarray, length: int) -> list[np.ndarray]:
    """Windows of equal length, one behind the other, the last one at the end; a shorter track is one window."""
    if len(samples) <= length:
        return [samples]
    starts = [*range(0, len(samples) - length, length), len(samples) - length]
    return [samples[start : start + length] for start in starts]


@torch.inference_mode()
def hidden_states(
    encoder: HuggingFaceEncoder, parts: Sequence[np.ndarray], blocks: Sequence[int], pooling: str, batch_size: int
) -> dict[int, np.ndarray]:
    """Pooled outputs of blocks: float32 `[windows, size]` by block.

    Args:
        encoder: What computes them.
        parts: Windows of equal length, `[samples]` each.
        blocks: Counted from 0.
        pooling: `mean` over all positions of a window, or `cls`, its first one.
        batch_size: Windows at a time.

    Raises:
        EncoderError: A hidden state that is not finite.
    """
    device = next(encoder.network.parameters()).device
    found: dict[int, list[torch.Tensor]] = {block: [] for block in blocks}
    for start in range(0, len(parts), batch_size):
        group = list(parts[start : start + batch_size])
        given = encoder.prepare(group, sampling_rate=encoder.sample_rate, return_tensors="pt")
        states = encoder.network(**given.to(device), output_hidden_states=True).hidden_states
        for block in blocks:
            state = states[block + 1]
            found[block].append(state[:, 0] if pooling == "cls" else state.mean(dim=1))
    arrays = {block: torch.cat(rows).float().cpu().numpy() for block, rows in found.items()}
    for block, array in arrays.items():
        if not np.isfinite(array).all():
            raise EncoderError(f"not finite: hidden states of block {block}")
    return arrays
