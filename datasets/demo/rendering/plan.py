"""Which piece is rendered as what kind, how often, and in which split; nothing here depends on how much is rendered.

Clips are handed out one by one: the kind that is farthest behind its share takes the piece used least so far. So a
longer corpus begins with the clips of a shorter one.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

WRITTEN = "written"  # the kind of a file rendered as it is, as long as it is


class Source(NamedTuple):
    """What planning must know of a MIDI file.

    Attributes:
        name: Relative to its folder, POSIX separators.
        kinds: What it can be made into.
        seconds: That it lasts.
        split: That a table beside it puts it in; empty where none does.
    """

    name: str
    kinds: tuple[str, ...]
    seconds: float
    split: str


class Clip(NamedTuple):
    """One file of the corpus: variant number `variant` of a piece as a kind; `seconds` at most."""

    source: Source
    kind: str
    variant: int
    seconds: float

    def rng(self, seed: int) -> random.Random:
        """What is drawn for this clip and no other."""
        return random.Random(f"ostinato/rendering/{seed}/{self.source.name}/{self.kind}/{self.variant}")


def clips(
    sources: Sequence[Source], shares: Mapping[str, float], lengths: tuple[float, float], seed: int
) -> Iterator[Clip]:
    """All clips, without end, unless no piece fits any kind.

    Args:
        shares: Of the clips, by kind; those that no piece fits are left to the others.
        lengths: Shortest and longest clip, seconds; a piece that is shorter gives a shorter one.
    """
    rng = random.Random(f"ostinato/plan/{seed}")
    order = sorted(sources)
    rng.shuffle(order)
    ranks: dict[str, list[tuple[int, int]]] = {
        kind: [(0, rank) for rank, source in enumerate(order) if kind in source.kinds] for kind in shares
    }
    shares = {kind: share for kind, share in shares.items() if share > 0 and ranks[kind]}
    uses: Counter[int] = Counter()
    variants: Counter[tuple[int, str]] = Counter()
    handed: Counter[str] = Counter()
    while shares:
        kind = min(shares, key=lambda name: (handed[name] + 1) / shares[name])
        used, rank = heapq.heappop(ranks[kind])
        while used < uses[rank]:
            used, rank = heapq.heappushpop(ranks[kind], (uses[rank], rank))
        heapq.heappush(ranks[kind], (used + 1, rank))
        uses[rank] += 1
        source = order[rank]
        clip = Clip(source, kind, variants[rank, kind], source.seconds)
        if kind != WRITTEN:
            wanted = random.Random(f"ostinato/length/{seed}/{source.name}/{kind}/{clip.variant}").uniform(*lengths)
            clip = clip._replace(seconds=min(wanted, clip.seconds))
        yield clip
        variants[rank, kind] += 1
        handed[kind] += 1


def enough(handed: Iterator[Clip], count: int | None, seconds: float | None) -> list[Clip]:
    """The first clips, until there are so many or they last so long, whichever comes first."""
    taken: list[Clip] = []
    total = 0.0
    for clip in itertools.islice(handed, count):
        taken.append(clip)
        total += clip.seconds
        if seconds is not None and total >= seconds:
            break
    return taken


def splits(sources: Sequence[Source], shares: Mapping[str, float], seed: int, keep: bool = False) -> dict[str, str]:
    """A split for every piece, so that all of its variants are in the same one.

    Pieces stand in the order of a hash of their names, and splits take their shares of that order from its end on; a
    split with a share gets one piece at least, while there are enough.

    Args:
        keep: Pieces that a table beside them puts in a split stay there.
    """
    names = sorted(source.name for source in sources if not (keep and source.split))
    names.sort(key=lambda name: hashlib.sha256(f"ostinato/split/{seed}/{name}".encode()).digest())
    total = sum(shares.values())
    given = {source.name: source.split for source in sources if keep and source.split}
    first, *others = sorted(shares, key=lambda name: -shares[name])
    for split in others:
        count = min(len(names) - 1, max(1, round(shares[split] / total * (len(names))))) if shares[split] > 0 else 0
        taken, names = names[:count], names[count:]
        given |= dict.fromkeys(taken, split)
    return given | dict.fromkeys(names, first)
