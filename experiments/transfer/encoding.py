"""What a frozen network gives its head, of every track once: vectors in stores that further trainings take, too.

A store is found again by what made it: network, weights, front end, windows, and the seed of crops. One that was left
unfinished is gone on with.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from datasets.store import Header, Store, StoreError
from datasets.text import pluralize
from datasets.windows import offset_range
from experiments import distributed
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.inference.batching import Job, Output
from experiments.inference.extraction import extract, header, made_of_other
from experiments.messages import say
from experiments.tracks.data import DataSource
from experiments.windowing import Windowing
from models.fingerprint import fingerprint
from models.running import head_inputs_of

FOLDER = Path("outputs/encoded")


@dataclass(frozen=True)
class CropJob(Job):
    """A job on one random crop of every track, which depends on the seed and the track's name alone.

    Attributes:
        seed: Moves the crops.
    """

    seed: int = 0

    def starts(self, identity: str) -> list[int]:
        """One start, each with equal chance."""
        offsets = offset_range(self.features.length(identity), self.windowing.rows)
        name = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
        return [offsets[int(np.random.default_rng((self.seed, name)).integers(len(offsets)))]]


def encode(
    encoder: Encoder,
    source: DataSource,
    windowing: Windowing,
    ids: Sequence[str],
    batch_size: int,
    seed: int | None = None,
) -> Store:
    """What the head of a network sees of tracks, `[windows, values]` float32 each.

    Args:
        encoder: The network, which is put into evaluation mode.
        source: Of the tracks.
        windowing: How they are cut.
        ids: Of the tracks in the source.
        batch_size: Windows at once.
        seed: Of one random crop of a track in the place of its windows; None: its windows.

    Returns:
        A store, with the tracks that can be read.

    Raises:
        UserError: The head sees more than a vector, or no track can be read.
    """
    made = _header(encoder, windowing, seed)
    where = fingerprint({**(made.producer or {}), "folder": str(source.base_dir.resolve())})
    folder = FOLDER / f"{source.name}-{where[:8]}"
    if distributed.rank() == 0:
        _remove_other(folder, source, ids)
    distributed.barrier()
    runner = encoder.runner(head_inputs_of, torch.float32)
    about = (source.features, windowing, runner, [Output(folder, made)], batch_size)
    report = extract(Job(*about) if seed is None else CropJob(*about, seed), ids)
    what = "one random crop each" if seed is not None else "all windows"
    say(f"encoded, {what}: {report.written} now, {report.already} before, {len(report.skipped)} skipped, {folder}")
    if report.short:
        short = pluralize(report.short, "track is", "tracks are")
        say(f"{short} shorter than nine tenths of a window: centred in silence")
    if report.skipped:
        identity, reason = report.skipped[0]
        if not report.written and not report.already:
            raise UserError(f"none of {len(ids)} tracks could be encoded; {identity}: {reason}")
        say(f"skipped tracks and why: {folder / 'skipped.csv'}; {identity}: {reason}")
    return Store(folder, kind="embeddings")


def _header(encoder: Encoder, windowing: Windowing, seed: int | None) -> Header:
    """Of the store; classifiers of another form make no other one."""
    network = encoder.network.eval()
    identity = encoder.identity
    body = {name: value for name, value in identity["network"].items() if name not in network.head_arguments}
    places = windowing.record if seed is None else {"window_frames": windowing.frames, "crop_seed": seed}
    arithmetic = {"precision": str(encoder.runtime.mixed)} if encoder.runtime.mixed else {}
    producer = {
        **identity,
        "network": body,
        "weights": encoder.weights,
        "of": "input of the head",
        **places,
        **arithmetic,
    }
    x = torch.zeros(1, windowing.frames, *encoder.frontend.item_shape, device=next(network.parameters()).device)
    with torch.no_grad():
        (seen,) = head_inputs_of(network, x)
    if seen.ndim != 2:
        raise UserError(
            f"module.encode: the head of {network.name} sees an array of shape {list(seen.shape[1:])} of a window, no "
            "vector: leave it out, and the frozen network is run in every epoch"
        )
    return replace(header("embeddings", seen.shape[1:], "input of the head", producer), dtype="float32")


def _remove_other(folder: Path, source: DataSource, ids: Sequence[str]) -> None:
    """Remove a store that is damaged, or of other audio under the same names."""
    if not (folder / "header.json").is_file():
        return
    try:
        other = made_of_other(Store(folder, kind="embeddings"), source.features, ids)
        why = f"{pluralize(len(other), 'track has', 'tracks have')} other audio now" if other else ""
    except StoreError as error:
        why = str(error)
    if why:
        say(f"{folder}: {why}: encoded anew")
        shutil.rmtree(folder)
