"""Which tracks are trained on and which are validated with, where nobody asks for their labels."""

from __future__ import annotations

from datasets.folders import folder_splits
from datasets.splits import hashed_split
from experiments.messages import say
from experiments.settings import DatamoduleSettings
from experiments.tracks.annotations import splits_near
from experiments.tracks.data import DataSource

UNSEEN = (0.9, 0.1, 0.0)


def split_tracks(settings: DatamoduleSettings, source: DataSource) -> dict[str, str]:
    """The split of every track: that of a table near the audio, or of the folders `train` and `valid`, else by a rule.

    By the rule, a tenth of the tracks is for validation, the rest for training, unless `split_shares` says otherwise.
    With `splits=hashed` it is by the rule in any case.

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
    return of_folders or {identity: hashed_split(identity, shares) for identity in ids}
