"""Splitting tracks into train, valid and test, each rule a function of the tracks and a seed, never of their order.

`hashed` looks at the id alone, so that a track keeps its split when others come and go. `stratified` gives every label
its share of every split: iterative stratification after Sechidis, Tsoumakas and Vlahavas, "On the stratification of
multi-label data" (ECML PKDD 2011), which for one label a track is stratification by class. `grouped` does the same with
whole groups (the tracks of an artist, of an album), so that none stands on two sides.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

from datasets.identity import composed

SPLITS = ("train", "valid", "test")
SHARES = (0.8, 0.1, 0.1)
STEPS = 2**32


def hashed_split(identity: str, shares: Sequence[float] = SHARES) -> str:
    """Assign a track by a hash of its id, accents composed: stable when tracks are added.

    Args:
        identity: Of the track.
        shares: Of `SPLITS`; they sum to 1.
    """
    place = hashed_place(identity)
    valid_from = round(shares[0] * 10 * STEPS)
    test_from = round((shares[0] + shares[1]) * 10 * STEPS)
    return "train" if place < valid_from else "valid" if place < test_from else "test"


def hashed_place(identity: str) -> int:
    """Where a track stands by a hash of its id, from 0 to 10 * `STEPS`: those with the lowest places are trained on.

    Whole numbers, so that 0.8 + 0.1 is 0.9.
    """
    digest = hashlib.sha256(composed(identity).encode("utf-8", "surrogatepass")).digest()
    tenth, rest = int.from_bytes(digest[:4], "big") % 10, int.from_bytes(digest[4:8], "big")
    return tenth * STEPS + rest


def hashed(labels: Mapping[str, Sequence[Hashable]], shares: Sequence[float] = SHARES) -> dict[str, str]:
    """Split tracks by a hash of their ids.

    Args:
        labels: Tracks by id; what labels they have does not matter.
        shares: Of `SPLITS`.

    Returns:
        Split by id.
    """
    return {identity: hashed_split(identity, shares) for identity in labels}


def stratified(labels: Mapping[str, Sequence[str]], shares: Sequence[float] = SHARES, seed: int = 0) -> dict[str, str]:
    """Split tracks so that every label has its share of every split, as nearly as its number of tracks allows.

    Args:
        labels: Of every track, by id.
        shares: Of `SPLITS`.
        seed: Decides among tracks with equal claims.

    Returns:
        Split by id. With one label a track, a split has less than one track of a class more than its share, and less
        than two fewer.
    """
    return grouped(labels, {identity: (identity,) for identity in labels}, shares, seed)


def grouped(
    labels: Mapping[str, Sequence[str]],
    groups: Mapping[str, Hashable],
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> dict[str, str]:
    """Split tracks by group, giving every label its share of every split as nearly as the groups allow.

    Args:
        labels: Of every track, by id.
        groups: Of every track, by id; tracks of equal groups come to the same split.
        shares: Of `SPLITS`.
        seed: Decides among groups with equal claims.

    Returns:
        Split by id.
    """
    members: defaultdict[Hashable, list[str]] = defaultdict(list)
    for identity in sorted(labels, key=composed):
        members[groups[identity]].append(identity)
    counts = {group: Counter(label for one in ids for label in set(labels[one])) for group, ids in members.items()}
    order = _order({group: ids[0] for group, ids in members.items()}, seed)
    totals: Counter[str] = Counter()
    for found in counts.values():
        totals.update(found)
    quotas = _Quotas(shares, len(labels), totals)
    assigned: dict[Hashable, int] = {}

    def settle(group: Hashable, label: str | None) -> None:
        assigned[group] = quotas.take(label, len(members[group]), counts[group])

    _rarest_first(counts, order, settle)
    unlabelled = [group for group in members if group not in assigned]
    for group in sorted(unlabelled, key=lambda g: (-len(members[g]), order[g])):
        settle(group, None)
    return {identity: SPLITS[assigned[groups[identity]]] for identity in labels}


def _order(firsts: Mapping[Hashable, str], seed: int) -> dict[Hashable, bytes]:
    """What groups are sorted by: a hash of the seed and of the group's first track."""
    return {
        group: hashlib.sha256(f"{seed}/{composed(first)}".encode("utf-8", "surrogatepass")).digest()
        for group, first in firsts.items()
    }


def _rarest_first(
    counts: Mapping[Hashable, Counter[str]], order: Mapping[Hashable, bytes], settle: Callable[[Hashable, str], None]
) -> None:
    """Settle every group that has a label, beginning with the label that has the fewest tracks left."""
    with_label: defaultdict[str, list[Hashable]] = defaultdict(list)
    left: Counter[str] = Counter()
    for group in sorted(counts, key=order.__getitem__):
        for label, count in counts[group].items():
            with_label[label].append(group)
            left[label] += count
    settled: set[Hashable] = set()
    while left:
        label = min(left, key=lambda one: (left[one], one))
        for group in sorted(with_label[label], key=lambda one: -counts[one][label]):
            if group in settled:
                continue
            settled.add(group)
            settle(group, label)
            for other, count in counts[group].items():
                left[other] -= count
        for other in [one for one, count in left.items() if count <= 0]:
            del left[other]


class _Quotas:
    """How many tracks, and tracks of every label, each split may still take."""

    def __init__(self, shares: Sequence[float], tracks: int, totals: Mapping[str, int]) -> None:
        self.tracks = [share * tracks for share in shares]
        self.of_label = {label: [share * total for share in shares] for label, total in totals.items()}
        self.open = [number for number, share in enumerate(shares) if share > 0]

    def take(self, label: str | None, tracks: int, counts: Mapping[str, int]) -> int:
        """Give a group to the split that lacks most of a label, then most tracks; its number."""
        wanted = self.of_label[label] if label is not None else self.tracks
        chosen = max(self.open, key=lambda split: (round(wanted[split], 9), round(self.tracks[split], 9), -split))
        self.tracks[chosen] -= tracks
        for one, count in counts.items():
            self.of_label[one][chosen] -= count
        return chosen


def check_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Return the shares of the splits.

    Raises:
        ValueError: They are not three, one is negative, or they do not sum to 1.
    """
    shares = tuple(float(share) for share in shares)
    if len(shares) != len(SPLITS) or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(
            f"{list(shares)} are no shares of {', '.join(SPLITS)}: give three numbers that sum to 1, "
            f"for instance [0.8,0.1,0.1], or [0,0,1] to evaluate on all tracks"
        )
    return shares
