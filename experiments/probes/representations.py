"""What a row of the table stands for: an encoder, its layer or a learned sum of blocks, tokens and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.store import Reader, Store, stated
from datasets.store_format import read_header
from datasets.vectors import TOKENS, Reduction, gather, token_reduction
from experiments.errors import UserError
from experiments.layer_folders import as_stored, layer_in
from experiments.probes.layers import by_number, in_order
from experiments.probes.records import PREDICTIONS, SUM, layer_name
from experiments.settings import ROWS, EmbeddingsSettings

MAIN, MEL, MAJORITY_OR_MEAN = ROWS
ALL = "all"  # the choice of all tokens, side by side
MOST_STORES = 6  # named in an error


@dataclass(frozen=True, eq=False)
class Representation:
    """How a track becomes the vector that probes see.

    Attributes:
        encoder: The setting's name of the store, or a baseline's.
        stores: One, or those of the blocks of a learned sum.
        reduction: From a stored array to a vector.
        block: Number of a block or name of a layer; `sum` for a learned sum; empty where there is none.
        tokens: Names of tokens, joined by `+`, or `all`; empty where they have no names.
        pooling: A key of `POOLINGS`; empty where there are no windows.
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
        return made | ({"blocks": [layer_of(store) for store in self.stores]} if self.block == SUM else {})

    @property
    def ids(self) -> set[str]:
        """Tracks that all stores have."""
        return set.intersection(*(set(store.ids) for store in self.stores))

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """float32 `[tracks, values]`; those of several blocks side by side."""
        return np.concatenate([gather(store, ids, self.reduction) for store in self.stores], axis=1)


def representations(embeddings: EmbeddingsSettings) -> list[Representation]:
    """Every encoder, layer, choice of tokens and pooling that the settings ask for.

    Raises:
        UserError: No store was named, one is not there, or layers or tokens are missing or of different networks.
        StoreError: One holds something else.
    """
    if embeddings.store is None:
        raise UserError(
            "embeddings.store is not set: name a store of embeddings, which "
            "`python ex_pretrain.py extract_embeddings with ...` writes and names at its end"
        )
    rows: list[Representation] = []
    tokens_had: set[str] = set()
    for name, place in {embeddings.name or MAIN: embeddings.store, **embeddings.compare}.items():
        stores = _stores(name, Path(place).expanduser(), embeddings.blocks, embeddings.layers)
        _same_network(name, stores)
        parts: list[tuple[int | str, tuple[Store, ...]]] = [(layer_of(store), (store,)) for store in stores]
        if embeddings.block_sum and len(stores) > 1:
            parts.append((SUM, tuple(stores)))
        elif embeddings.block_sum and not rows:
            raise UserError(
                f"embeddings.block_sum=True: {place} is the store of one block; give the folder of several, which "
                f"extract_embeddings writes with inference.transformer_block=[...]"
            )
        for block, those in parts:
            names = token_names(those[0])
            choices = _choices(those[0], names, embeddings.tokens)
            tokens_had |= choices.keys()
            for choice, tokens in choices.items() if len(names) > 1 else [("", ())]:
                for pooling in embeddings.pooling:
                    reduction = token_reduction(tokens, pooling, names)
                    rows.append(Representation(name, those, reduction, block, choice, pooling))
    if missing := [choice for choice in embeddings.tokens if choice not in tokens_had]:
        raise UserError(f"embeddings.tokens: no store has {missing[0]!r}; {_described(rows[0].stores[0])}")
    layers = list(dict.fromkeys(row.block for row in rows))
    for setting, wanted in (("blocks", embeddings.blocks), ("layers", embeddings.layers)):
        if missing := [layer for layer in wanted or () if layer not in layers]:
            stored = ", ".join(layer_name(layer) or "a store of no layer" for layer in layers)
            raise UserError(f"embeddings.{setting}: no store is of {layer_name(missing[0])}; there is {stored}")
    return rows


def token_names(store: Reader) -> tuple[str, ...]:
    """Names of the tokens of every window, the first axis of what is stored; none where they have no names."""
    shape = store.header.item_shape
    default = list(TOKENS) if len(shape) == 2 and shape[0] == len(TOKENS) else []
    names = stated(store, "token_names", "a list of texts", stated(store, "tokens", "a list of texts", default))
    return tuple(names) if len(shape) == 2 and shape[0] == len(names) and all(names) else ()


def _choices(store: Store, names: Sequence[str], wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Those of the wanted choices of tokens that a store has.

    Raises:
        UserError: It has names of tokens, and none of those wanted.
    """
    split = {choice: tuple(names) if choice == ALL else tuple(choice.split("+")) for choice in wanted}
    found = {choice: tokens for choice, tokens in split.items() if choice == ALL or set(tokens) <= set(names)}
    if names and not found:
        raise UserError(
            f"embeddings.tokens=[{','.join(wanted)}]: {_described(store)}; choose one, several joined by +, or all"
        )
    return found


def _described(store: Reader) -> str:
    tokens = token_names(store)
    return f"{store.path} has " + (f"the tokens {', '.join(tokens)}" if tokens else "no names of tokens")


def layer_of(store: Reader) -> int | str:
    """The layer of a network that a store is of: the number of a block, or a name; empty where it is of none."""
    return stated(store, "layer", "a text", stated(store, "block", "a number of a block", ""))


def layers_in(folder: Path) -> dict[int | str, Path]:
    """The stores of several layers in a folder, as an extraction leaves them: by number of a block, or by name."""
    folders = [header.parent for header in folder.glob("*/header.json")]
    found = {layer: one for one in folders if (layer := layer_in(one.name)) is not None}
    return dict(sorted(found.items(), key=lambda pair: by_number(pair[0])))


def _stores(name: str, path: Path, blocks: Sequence[int] | None, layers: Sequence[str] | None) -> list[Store]:
    """The stores of an encoder: numbered ones as `blocks` chooses, those with names as `layers` does."""

    def choice(layer: int | str) -> tuple[str, Sequence[int | str] | None]:
        return ("blocks", blocks) if isinstance(layer, int) else ("layers", layers)

    path = as_stored(path)
    if (path / "header.json").is_file():
        if read_header(path).kind in PREDICTIONS:
            raise UserError(
                f"{name}: {path} holds predictions, for which nothing is trained: give it as "
                f"embeddings.predictions.NAME={path}"
            )
        store = Store(path, kind="embeddings")
        setting, wanted = choice(layer := layer_of(store))
        if wanted and layer not in (*wanted, ""):
            raise UserError(f"embeddings.{setting}={list(wanted)}: {path} is of {layer_name(layer)}")
        return [store]
    found = layers_in(path)
    if not found:
        inside = sorted(str(header.parent) for header in path.glob("*/header.json"))
        hint = f"there is {', '.join(inside)}" if inside else _elsewhere(path)
        raise UserError(f"{name}: {path} is no store of embeddings; {hint}")
    for setting, wanted in {choice(layer)[0]: choice(layer)[1] for layer in found}.items():
        if missing := [layer for layer in wanted or () if layer not in found]:
            stored = ", ".join(map(str, found))
            raise UserError(f"embeddings.{setting}: {path} has no {layer_name(missing[0])}, there is {stored}")
    chosen = [layer for layer in found if not (wanted := choice(layer)[1]) or layer in wanted]
    return in_order([Store(found[layer], kind="embeddings") for layer in chosen])


def _elsewhere(path: Path) -> str:
    """Where the store of a path would come from, and the stores that lie where extractions leave them."""
    if path.is_relative_to("outputs/demo") and not Path("outputs/demo").exists():
        return "make demo writes it"
    patterns, folder = ("*", "*/*"), Path("outputs/embeddings")
    stored = sorted({str(one.parent) for pattern in patterns for one in folder.glob(f"{pattern}/header.json")})
    more = f" and {len(stored) - MOST_STORES} more" if len(stored) > MOST_STORES else ""
    found = f"; there is {', '.join(stored[:MOST_STORES])}{more}" if stored else ""
    return f"`python ex_pretrain.py extract_embeddings with ...` writes one and names it at its end{found}"


def _same_network(name: str, stores: Sequence[Store]) -> None:
    """Refuse a folder of layers that are not of one network and its windows: tables would call them one encoder."""
    first, *others = ({**(store.header.producer or {}), "block": None, "layer": None} for store in stores)
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
        parts = {"block": layer_name(row.block), "tokens": row.tokens, "pooling": row.pooling}
        several = [part for part in parts if len({getattr(other, part) for other in own}) > 1]
        named[row] = ", ".join([row.encoder, *(parts[part] for part in several)])
    return named
