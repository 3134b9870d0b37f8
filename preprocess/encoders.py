"""An audio encoder of Hugging Face's `transformers` over a folder of audio: pooled hidden states, a store a block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.store import Header, StoreWriter
from models.fingerprint import fingerprint
from preprocess.bars import counted
from preprocess.build import alone
from preprocess.decode import stream
from preprocess.features import SILENCE
from preprocess.files import Candidate, find, printable
from preprocess.ledger import Ledger
from preprocess.sources import AudioError

PACKAGE = "transformers>=5,<6"
WINDOW = 10.0  # seconds, of encoders that take audio of any length
SHORTEST = 0.5  # seconds of audio
UNUSED = ("masked_spec_embed", "pooler")  # parts of a network that hidden states do not go through
SAVE_EVERY = 16  # tracks


class EncoderError(ValueError):
    """An encoder that cannot be loaded or used as asked."""


@dataclass
class Extracted:
    """What became of the files.

    Attributes:
        store: Folder of the stores.
        blocks: Whose hidden states are stored.
        size: Values of a vector.
        written: Tracks added in this run.
        already: Tracks that were in all stores before.
        skipped: (id, reason) of files that gave no track, now or in an earlier run.
        notes: What else is worth saying.
    """

    store: Path
    blocks: list[int] = field(default_factory=list)
    size: int = 0
    written: int = 0
    already: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Encoder:
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


def load_encoder(folder: Path, device: str = "cpu") -> Encoder:
    """Load an encoder from a folder on this machine; code that comes with it is not run, pickles are not read.

    Raises:
        EncoderError: `transformers` is missing, or the folder holds no audio encoder that it can load.
    """
    try:
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise EncoderError(f"encoders of Hugging Face need a package: pip install '{PACKAGE}' ({error})") from error
    _check_folder(folder)
    disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        prepare = AutoFeatureExtractor.from_pretrained(folder, **local)
        network, loaded = AutoModel.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **local
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise EncoderError(f"{folder}: transformers cannot load it: {str(error).strip().splitlines()[0]}") from error
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
    return Encoder(network, prepare, rate, depth, size, _own_seconds(prepare), has_cls, _digest(folder))


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
    encoder: Encoder, parts: Sequence[np.ndarray], blocks: Sequence[int], pooling: str, batch_size: int
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


def extract(
    model_dir: str | Path,
    audio_dir: str | Path,
    store_dir: str | Path,
    blocks: Sequence[int] | None = None,
    pooling: str = "mean",
    seconds: float | None = None,
    batch_size: int = 8,
    device: str = "auto",
    retry: bool = False,
    progress: bool = True,
) -> Extracted:
    """Store pooled hidden states of every audio file in a folder, `[windows, 1, size]` in `STORE_DIR/block_NN`.

    Killed at any moment, the same call goes on behind the last commit, some seconds back.

    Args:
        model_dir: Folder of the encoder.
        audio_dir: Folder of audio files, searched with its sub-folders.
        store_dir: Folder of the stores; made, or added to.
        blocks: Counted from 0; None: all.
        pooling: `mean` or `cls`.
        seconds: Length of a window; None: the encoder's own, or `WINDOW`.
        batch_size: Windows of a track at a time.
        device: `auto`, `cpu` or `cuda`.
        retry: Try files again that were skipped before.
        progress: Show a bar with the time left on standard error.

    Raises:
        EncoderError: As `load_encoder`; or blocks, pooling, windows that it does not have.
        AudioError: No such folder, no audio in it, or no file in it that could be used.
        StoreError: A store holds something else, or the disk is full; what was done is kept.
    """
    report = Extracted(Path(store_dir))
    files, _ = find(Path(audio_dir))
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    encoder = load_encoder(Path(model_dir), device)
    seconds = seconds or encoder.seconds or WINDOW
    report.blocks, report.size = _checked(encoder, blocks, pooling, seconds, batch_size), encoder.size
    about = {
        "encoder": Path(model_dir).resolve().name,
        "source": f"transformers: {type(encoder.network).__name__}",
        "weights": encoder.digest,
        "tokens": [pooling],
        "window_seconds": seconds,
        "sample_rate": encoder.sample_rate,
        "resampler": "soxr HQ",
    }
    with alone(report.store), ExitStack() as stack:
        writers = {
            block: stack.enter_context(StoreWriter(report.store / f"block_{block:02d}", _header(about, block, encoder)))
            for block in report.blocks
        }
        done = set.intersection(*(writer.done for writer in writers.values()))
        ledger = Ledger(report.store)
        ledger.forget_others(files)
        new = [file for file in files if file.id not in done]
        report.already = len(files) - len(new)
        todo = [file for file in new if retry or not ledger.settled(file)]
        try:
            with counted("hidden states", len(todo), "tracks", progress) as advance:
                for number, file in enumerate(todo, start=1):
                    report.written += _store(file, encoder, pooling, seconds, batch_size, writers, ledger)
                    if number % SAVE_EVERY == 0:
                        ledger.save()
                    advance()
        finally:
            ledger.save()
    report.skipped = [(file.id, ledger.skipped[file.id].reason) for file in new if file.id in ledger.skipped]
    if not report.written and not report.already:
        raise AudioError(audio_dir, f"none of {len(files)} files could be used: see {ledger.skipped_path}")
    return report


def _header(about: dict[str, Any], block: int, encoder: Encoder) -> Header:
    producer = {**about, "block": block}
    units = f"hidden states, {about['tokens'][0]} of a window"
    return Header("embeddings", (1, encoder.size), "float32", units, producer, fingerprint(producer))


def _checked(
    encoder: Encoder, blocks: Sequence[int] | None, pooling: str, seconds: float, batch_size: int
) -> list[int]:
    """The blocks, once all that was asked for is known to exist."""
    chosen = sorted(set(range(encoder.depth) if blocks is None else blocks))
    wrong = [block for block in chosen if not 0 <= block < encoder.depth]
    if wrong or not chosen:
        raise EncoderError(f"blocks={list(blocks or ())}: this encoder has the blocks 0 to {encoder.depth - 1}")
    if pooling == "cls" and not encoder.has_cls:
        raise EncoderError(f"pooling=cls: {type(encoder.network).__name__} has no CLS token; use mean")
    if pooling not in ("mean", "cls"):
        raise EncoderError(f"pooling={pooling!r}: use mean or cls")
    if not seconds >= SHORTEST or (encoder.seconds and seconds > encoder.seconds):
        most = f" to {encoder.seconds:g} s" if encoder.seconds else " s or more"
        raise EncoderError(f"seconds={seconds:g}: this encoder takes windows of {SHORTEST:g}{most}")
    if batch_size < 1:
        raise EncoderError(f"batch_size={batch_size}: give 1 or more windows")
    return chosen


def _store(
    file: Candidate,
    encoder: Encoder,
    pooling: str,
    seconds: float,
    batch_size: int,
    writers: dict[int, StoreWriter],
    ledger: Ledger,
) -> bool:
    """One track into all stores, or the reason why there is none into the ledger."""
    notes: list[str] = []
    try:
        samples = np.concatenate(list(_blocks(file, encoder.sample_rate, notes)))
        parts = windows(samples, round(seconds * encoder.sample_rate))
        states = hidden_states(encoder, parts, list(writers), pooling, batch_size)
    except AudioError as error:
        ledger.leave_out(file, error.reason)
        return False
    except EncoderError as error:
        ledger.leave_out(file, str(error))
        return False
    for block, writer in writers.items():
        if file.id not in writer.done:
            duration = len(samples) / encoder.sample_rate
            writer.append(file.id, states[block][:, None, :], printable(file.path), duration)
    ledger.keep(file, notes)
    return True


def _blocks(file: Candidate, sample_rate: int, notes: list[str]) -> Iterator[np.ndarray]:
    """Samples of a file that is long and loud enough."""
    length, peak = 0, 0.0
    for block in stream(file.path, sample_rate, notes):
        length, peak = length + len(block), max(peak, float(np.abs(block).max(initial=0.0)))
        yield block
    if length < SHORTEST * sample_rate:
        raise AudioError(file.path, f"too short: {length / sample_rate:.3f} s, at least {SHORTEST:g} s are needed")
    if peak < SILENCE:
        raise AudioError(file.path, f"silent: peak {peak:.1e} of full scale")
