"""What a row of the table stands for: an encoder, its block or a learned sum of blocks, tokens and pooling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.corpus import SPLITS, Corpus
from datasets.store import Reader, Store, stated
from datasets.store_format import read_header
from experiments.errors import UserError
from experiments.probes.records import SUM
from experiments.probes.vectors import CHOICES, TOKENS, Reduction, Split, gather, token_reduction
from experiments.settings import ROWS, EmbeddingsSettings
from experiments.tracks.examples import Examples

MAIN, MEL, CONSTANT = ROWS
MOST_STORES = 6  # named in an error


@dataclass(frozen=True, eq=False)
class Representation:
    """How a track becomes the vector that probes see.

    Attributes:
        encoder: The setting's name of the store, or a baseline's.
        stores: One, or those of the blocks of a learned sum.
        reduction: From a stored array to a vector.
        block: Of the network; `sum` for a learned one; empty where there is none.
        tokens: A key of `CHOICES`; empty where there are none.
        pooling: A key of `POOLINGS`; empty where there are no patches.
    """

    encoder: str
    stores: tuple[Reader, ...]
    reduction: Reduction
    block: int | str = ""
    tokens: str = ""
    pooling: str = ""

    @property
    def network(self) -> str:
        """Fingerprint of what made the vectors."""
        return "+".join(store.header.fingerprint or "unknown" for store in self.stores)

    @property
    def origin(self) -> dict[str, Any]:
        """As `Split.features` has it."""
        made = {"kind": self.reduction.kind, "fingerprint": self.network, "reduction": self.reduction.name}
        made["producer"] = dict(self.stores[0].header.producer or {})  # by which they can be made of new audio
        return made | ({"blocks": [block_of(store) for store in self.stores]} if self.block == SUM else {})

    @property
    def ids(self) -> set[str]:
        """Tracks that all stores have."""
        return set.intersection(*(set(store.ids) for store in self.stores))

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """float32 `[tracks, values]`; those of several blocks side by side."""
        return np.concatenate([gather(store, ids, self.reduction)[0] for store in self.stores], axis=1)


def representations(embeddings: EmbeddingsSettings) -> list[Representation]:
    """Every encoder, block, choice of tokens and pooling that the settings ask for.

    Raises:
        UserError: No store was named, one is not there, or blocks are missing or of different networks.
        StoreError: One holds something else.
    """
    if embeddings.store is None:
        raise UserError(
            "embeddings.store is not set: name a store of embeddings, which "
            "`python ex_pretrain.py extract_embeddings with ...` writes and names at its end"
        )
    rows, main = [], main_name(embeddings)
    for name, place in {main: embeddings.store, **embeddings.compare}.items():
        stores = _stores(name, Path(place).expanduser(), embeddings.blocks)
        _same_network(name, stores)
        parts: list[tuple[int | str, tuple[Store, ...]]] = [(block_of(store), (store,)) for store in stores]
        if embeddings.block_sum and len(stores) > 1:
            parts.append((SUM, tuple(stores)))
        elif embeddings.block_sum and name == main:
            raise UserError(
                f"embeddings.block_sum=True: {place} is the store of one block; give the folder of several, which "
                f"extract_embeddings writes with inference.transformer_block=[...]"
            )
        for block, those in parts:
            for tokens in _choices(those[0], embeddings.tokens):
                for pooling in embeddings.pooling:
                    reduction = token_reduction(CHOICES[tokens] if tokens else (), pooling)
                    rows.append(Representation(name, those, reduction, block, tokens, pooling))
    return rows


def main_name(embeddings: EmbeddingsSettings) -> str:
    """What the encoder of `embeddings.store` is called in tables."""
    return embeddings.name or MAIN


def _choices(store: Store, wanted: Sequence[str]) -> list[str]:
    """The choices of tokens that a store has; the empty one, for all it holds, where it has no tokens of that name."""
    return list(dict.fromkeys(wanted)) if has_tokens(store) else [""]


def has_tokens(store: Reader) -> bool:
    """Whether a store holds `TOKENS` of every patch, not something else."""
    shape, names = store.header.item_shape, stated(store, "tokens", "a list of texts", TOKENS)
    return len(shape) == 2 and shape[0] == len(TOKENS) and tuple(names) == TOKENS


def blocks_in(folder: Path) -> dict[int, Path]:
    """The stores of several blocks in a folder, as an extraction leaves them."""
    places = {header.parent.name.removeprefix("block_"): header.parent for header in folder.glob("block_*/header.json")}
    return {int(number): places[number] for number in sorted(places) if number.isascii() and number.isdecimal()}


def _stores(name: str, path: Path, blocks: Sequence[int] | None) -> list[Store]:
    if (path / "header.json").is_file():
        if read_header(path).kind == "predictions":
            raise UserError(
                f"{name}: {path} holds answers, for which nothing is trained: give it as embeddings.answers.NAME={path}"
            )
        store = Store(path, kind="embeddings")
        if blocks is not None and block_of(store) not in (*blocks, ""):
            raise UserError(f"embeddings.blocks={list(blocks)}: {path} is of block {block_of(store)}")
        return [store]
    found = blocks_in(path)
    if not found:
        inside = sorted(str(header.parent) for header in path.glob("*/header.json"))
        hint = f"there is {', '.join(inside)}" if inside else _elsewhere(Path("outputs/embeddings"))
        raise UserError(f"{name}: {path} is no store of embeddings; {hint}")
    if missing := [block for block in blocks or () if block not in found]:
        there = ", ".join(str(block) for block in sorted(found))
        raise UserError(f"embeddings.blocks: {path} has no block {missing[0]}, there is {there}")
    return [Store(found[block], kind="embeddings") for block in sorted(blocks or found)]


def _elsewhere(folder: Path) -> str:
    """Where stores come from, and those that lie where extractions leave them."""
    there = sorted({str(header.parent) for pattern in ("*", "*/*") for header in folder.glob(f"{pattern}/header.json")})
    more = f" and {len(there) - MOST_STORES} more" if len(there) > MOST_STORES else ""
    found = f"; there is {', '.join(there[:MOST_STORES])}{more}" if there else ""
    return f"`python ex_pretrain.py extract_embeddings with ...` writes one and names it at its end{found}"


def block_of(store: Reader) -> int | str:
    """The block of a network that a store is of; empty where it is of none."""
    return stated(store, "block", "a number of a block", "")


def _same_network(name: str, stores: Sequence[Store]) -> None:
    """Refuse a folder of blocks that are not of one network and its windows: tables would call them one encoder."""
    first, *others = ({**(store.header.producer or {}), "block": None} for store in stores)
    for store, other in zip(stores[1:], others, strict=True):
        if differ := sorted(key for key in {*first, *other} if first.get(key) != other.get(key)):
            raise UserError(
                f"{name}: {stores[0].path} and {store.path} are not of one network, they differ in "
                f"{', '.join(differ)} ({first.get(differ[0])!r}, {other.get(differ[0])!r}); extract the blocks together"
            )


def labels(rows: Sequence[Representation]) -> dict[Representation, str]:
    """Names for a table: the encoder's, with what tells its rows apart."""
    named = {}
    for row in rows:
        own = [other for other in rows if other.encoder == row.encoder]
        parts = {"block": f"block {row.block}" if row.block != SUM else "sum of blocks"}
        parts |= {"tokens": row.tokens, "pooling": row.pooling}
        several = [name for name in parts if len({getattr(other, name) for other in own}) > 1]
        named[row] = ", ".join([row.encoder, *(parts[name] for name in several)])
    return named


@dataclass(frozen=True)
class Annotated:
    """The annotated tracks of a task by split: stored ids, targets, and songs where tracks are clips of songs."""

    ids: Mapping[str, list[str]]
    targets: Mapping[str, np.ndarray]
    groups: Mapping[str, tuple[str, ...]] | None

    def splits(self, rows: Mapping[str, int], x: np.ndarray, representation: Representation) -> dict[str, Split]:
        """The splits with the vectors of a representation.

        Args:
            rows: Stored id -> row of `x`.
            x: Vectors of all tracks.
            representation: What they are.
        """
        made = {}
        for split in SPLITS:
            chosen = x[[rows[identity] for identity in self.ids[split]]]
            groups = self.groups[split] if self.groups else None
            made[split] = Split(
                chosen,
                self.targets[split],
                self.ids[split],
                features=representation.origin,
                groups=groups,
                layers=len(representation.stores),
            )
        return made


def annotated_tracks(found: Mapping[str, Examples], corpus: Corpus) -> Annotated:
    """The annotated tracks of a task; where some are clips of songs, the others are songs of one clip."""
    ids = {split: list(one.stored) for split, one in found.items()}
    targets = {split: one.targets for split, one in found.items()}
    songs = {track.id: str(track.annotations["group"]) for track in corpus if "group" in track.annotations}
    groups = {split: tuple(songs.get(track, track) for track in one.ids) for split, one in found.items()}
    clips = any(track in songs for one in found.values() for track in one.ids)
    return Annotated(ids, targets, groups if clips else None)


def subset(data: Annotated, split: str, keep: Iterable[int]) -> Annotated:
    """The same with some tracks of a split alone."""
    rows = list(keep)
    ids = {**data.ids, split: [data.ids[split][row] for row in rows]}
    targets = {**data.targets, split: data.targets[split][rows]}
    groups = {**data.groups, split: tuple(data.groups[split][row] for row in rows)} if data.groups else None
    return replace(data, ids=ids, targets=targets, groups=groups)
