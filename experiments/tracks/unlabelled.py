"""Which tracks are trained on and which are validated with, where nobody asks for their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datasets.folders import folder_splits
from datasets.splits import SPLITS, hashed_place, hashed_split
from experiments.messages import say
from experiments.settings import DatamoduleSettings
from experiments.tracks.annotations import splits_near
from experiments.tracks.data import DataSource

UNSEEN = (0.9, 0.1, 0.0)
LEAST = 2  # tracks to train on, and to validate with: one is told from another


def split_tracks(settings: DatamoduleSettings, source: DataSource) -> dict[str, str]:
    """The split of every track: that of a table near the audio, or of the folders `train` and `valid`, else by a rule.

    By the rule, a tenth of the tracks is for validation, the rest for training, unless `split_shares` says otherwise;
    of few tracks at least two, see `split_by_hash`. With `splits=hashed` it is by the rule in any case.

    Raises:
        CorpusError: The table cannot be read.
    """
    ids = list(source.features.ids)
    if near := splits_near(settings, source.base_dir, ids):
        say(f"splits of {near[0]}")
        return near[1]
    usual = type(settings).model_fields["split_shares"].default
    shares = UNSEEN if settings.split_shares == usual else settings.split_shares
    of_folders = folder_splits(ids) if settings.splits is None else None
    return of_folders or split_by_hash(ids, shares)


def split_by_hash(ids: Iterable[str], shares: Sequence[float]) -> dict[str, str]:
    """Split tracks by a hash of their ids, with at least two of four or more for validation, if it has a share.

    Where the hash gives fewer, those of the training that stand nearest to the border follow, as with a larger share.
    Two tracks stay for training; a test split gives what is missing then.

    Args:
        ids: Of all tracks; their order does not matter.
        shares: Of train, valid and test.
    """
    splits = {identity: hashed_split(identity, shares) for identity in ids}
    ordered = sorted(splits, key=lambda identity: (hashed_place(identity), identity))
    of = {split: [identity for identity in ordered if splits[identity] == split] for split in SPLITS}
    missing = LEAST - len(of["valid"])
    if missing > 0 and shares[1] > 0 and len(splits) >= 2 * LEAST:
        spare = [*reversed(of["train"][LEAST:]), *of["test"]]
        splits |= dict.fromkeys(spare[:missing], "valid")
    return splits
