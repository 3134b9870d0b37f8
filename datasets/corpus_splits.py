"""The tracks of a corpus split by a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from datasets import splits
from datasets.corpus import LABELS, Corpus, CorpusError
from datasets.labels import folded

MANY_TRACKS = 1000  # of more, every split has some


def split_corpus(
    corpus: Corpus,
    rule: str,
    shares: Sequence[float] = splits.SHARES,
    seed: int = 0,
    group_column: str = "group",
    artist_column: str = "artist",
) -> Corpus:
    """Split all tracks by a rule; the clips of a song (annotation `group`) stay together.

    Args:
        corpus: Whatever splits it has are replaced.
        rule: `hashed`, `stratified` or, to keep artists together, `grouped`; see `datasets.splits`.
        shares: Of `SPLITS`; they sum to 1.
        seed: Decides among tracks with equal claims.
        group_column: What the column of songs is called, for `split_by`.
        artist_column: What the column of artists is called, for `split_by`.

    Raises:
        CorpusError: Artists are to stay together, and no track has one.
    """
    labels = {
        track.id: tuple(f"{name}: {label}" for name in LABELS for label in track.labels(name) or ()) for track in corpus
    }
    songs = {track.id: str(track.annotations.get("group", track.id)) for track in corpus}
    clips = any(song != identity for identity, song in songs.items())
    if rule == "hashed":
        assigned = {identity: splits.hashed_split(song, shares) for identity, song in songs.items()}
        how = f"by a hash of the {group_column if clips else 'path'}"
    elif rule == "stratified":
        assigned, how = splits.grouped(labels, songs, shares, seed), f"stratified by label, seed {seed}"
    else:
        artists = {track.id: folded(track.annotations.get("artist", "")) for track in corpus}
        if not any(artists.values()):
            raise CorpusError(
                f"datamodule.splits=grouped: no track of {corpus.name} has an artist; name the column with "
                f"datamodule.columns.artist (there is {', '.join(corpus.columns) or 'no table'})"
            )
        alone = {identity: (artist,) if artist else ("", songs[identity]) for identity, artist in artists.items()}
        assigned, how = splits.grouped(labels, alone, shares, seed), f"grouped by {artist_column}, seed {seed}"
    tracks = tuple(replace(track, split=assigned[track.id]) for track in corpus)
    return replace(corpus, tracks=tracks, split_by=how)


def fills_all(corpus: Corpus, rule: str, shares: Sequence[float] = splits.SHARES, seed: int = 0) -> bool:
    """Whether a rule leaves no split empty that has a share, as `hashed` may where there are few tracks."""
    if len(corpus) > MANY_TRACKS:
        return True
    wanted = {split for split, share in zip(splits.SPLITS, shares, strict=True) if share > 0}
    return {track.split for track in split_corpus(corpus, rule, shares, seed)} == wanted
