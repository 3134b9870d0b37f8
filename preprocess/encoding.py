"""A folder of audio to pooled hidden states of an encoder that is not ours: a store of embeddings a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from datasets.audio_checksums import audio_checksum
from datasets.progress import progress as bar
from datasets.store import Header, StoreWriter
from models.fingerprint import fingerprint
from preprocess.encoders import EncoderError, HuggingFaceEncoder, hidden_states, load_encoder, windows
from preprocess.files import Candidate, find, storable
from preprocess.filling import alone
from preprocess.ledger import Ledger
from preprocess.sources import AudioError
from preprocess.tracks import audible

WINDOW = 10.0  # seconds, of encoders that take audio of any length
SHORTEST = 0.5  # seconds of audio
SAVE_EVERY = 16  # tracks


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
        changed: Tracks in the stores whose file is another one now; the stores keep what they have.
        noted: (id, note) of tracks that hold less than their file promised, now or in an earlier run.
    """

    store: Path
    blocks: list[int] = field(default_factory=list)
    size: int = 0
    written: int = 0
    already: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    noted: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class EncoderRecipe:
    """How a track becomes vectors.

    Attributes:
        encoder: What computes them.
        blocks: Counted from 0, rising.
        pooling: `mean` over the positions of a window, or `cls`.
        seconds: Length of a window.
        batch_size: Windows of a track at a time.
    """

    encoder: HuggingFaceEncoder
    blocks: Sequence[int]
    pooling: str
    seconds: float
    batch_size: int

    def __post_init__(self) -> None:
        encoder, kind = self.encoder, type(self.encoder.network).__name__
        if not self.blocks or not all(0 <= block < encoder.depth for block in self.blocks):
            raise EncoderError(f"blocks={list(self.blocks)}: this encoder has the blocks 0 to {encoder.depth - 1}")
        if self.pooling not in ("mean", "cls"):
            raise EncoderError(f"pooling={self.pooling!r}: use mean or cls")
        if self.pooling == "cls" and not encoder.has_cls:
            raise EncoderError(f"pooling=cls: {kind} has no CLS token; use mean")
        if not self.seconds >= SHORTEST or (encoder.seconds and self.seconds > encoder.seconds):
            most = f" to {encoder.seconds:g} s" if encoder.seconds else " s or more"
            raise EncoderError(f"seconds={self.seconds:g}: this encoder takes windows of {SHORTEST:g}{most}")
        if self.batch_size < 1:
            raise EncoderError(f"batch_size={self.batch_size}: give 1 or more windows")

    def header(self, block: int, name: str) -> Header:
        """Of the store of a block; `name` is what the encoder is called."""
        producer = {
            "encoder": name,
            "source": f"transformers: {type(self.encoder.network).__name__}",
            "weights": self.encoder.digest,
            "tokens": [self.pooling],
            "window_seconds": self.seconds,
            "sample_rate": self.encoder.sample_rate,
            "resampler": "soxr HQ",
            "block": block,
        }
        units = f"hidden states, {self.pooling} of a window"
        return Header("embeddings", (1, self.encoder.size), "float32", units, producer, fingerprint(producer))

    def vectors(self, samples: np.ndarray) -> dict[int, np.ndarray]:
        """`[samples]` of a track to float32 `[windows, size]` by block."""
        parts = windows(samples, round(self.seconds * self.encoder.sample_rate))
        return hidden_states(self.encoder, parts, self.blocks, self.pooling, self.batch_size)


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
    found = find(Path(audio_dir))
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    encoder = load_encoder(Path(model_dir), device)
    chosen = sorted(set(range(encoder.depth) if blocks is None else blocks))
    seconds = (encoder.seconds or WINDOW) if seconds is None else seconds
    recipe = EncoderRecipe(encoder, chosen, pooling, seconds, batch_size)
    report = Extracted(Path(store_dir), chosen, encoder.size)
    name = Path(model_dir).resolve().name
    with alone(report.store), ExitStack() as stack:
        ledger = Ledger(report.store)
        writers = {
            block: stack.enter_context(
                StoreWriter(report.store / f"block_{block:02d}", recipe.header(block, name), before_commit=ledger.save)
            )
            for block in chosen
        }
        ledger.list_folders(found)
        _run(found.files, recipe, writers, ledger, report, retry, progress)
    if not report.written and not report.already:
        raise AudioError(audio_dir, f"none of {len(found.files)} files could be used: see {ledger.skipped_path}")
    return report


def _run(
    files: Sequence[Candidate],
    recipe: EncoderRecipe,
    writers: Mapping[int, StoreWriter],
    ledger: Ledger,
    report: Extracted,
    retry: bool,
    progress: bool,
) -> None:
    """Every file that some store lacks into all stores or into the ledger; fills in the report."""
    done = set.intersection(*(writer.done for writer in writers.values()))
    new = [file for file in files if file.id not in done]
    report.already = len(files) - len(new)
    report.changed = [file.id for file in files if file.id in done and ledger.changed(file)]
    todo = [file for file in new if retry or not ledger.settled(file)]
    try:
        with bar("hidden states", len(todo), "tracks", show=progress) as advance:
            for number, file in enumerate(todo, start=1):
                report.written += _store(file, recipe, writers, ledger)
                if number % SAVE_EVERY == 0:
                    ledger.save()
                advance()
    finally:
        ledger.save()
    skipped = [file.id for file in new] + [id for id in ledger.skipped if id.endswith("/")]
    report.skipped = [(id, ledger.skipped[id].reason) for id in skipped if id in ledger.skipped]
    report.noted = [(file.id, ledger.noted[file.id].note) for file in files if file.id in ledger.noted]


def _store(file: Candidate, recipe: EncoderRecipe, writers: Mapping[int, StoreWriter], ledger: Ledger) -> bool:
    """One track into all stores, or the reason why there is none into the ledger."""
    notes: list[str] = []
    rate = recipe.encoder.sample_rate
    try:
        samples = audible(file.path, rate, SHORTEST, notes)
        states = recipe.vectors(samples)
    except AudioError as error:
        ledger.skip(file, error.reason)
        return False
    except EncoderError as error:
        ledger.skip(file, str(error))
        return False
    ledger.remember([file])
    ledger.keep(file, notes)
    source, checksum = storable(file.path), audio_checksum(file.path)
    for block, writer in writers.items():
        if file.id not in writer.done:
            writer.append(file.id, states[block][:, None, :], source, len(samples) / rate, audio_checksum=checksum)
    return True
