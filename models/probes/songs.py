"""Outputs for the clips of songs, made into outputs for the songs.

The rules are those of Castellon, Donahue and Liang (ISMIR 2021): vote (most frequent class, the first of several), max
(largest logit anywhere), gmean (mean of the logits), mean (mean of the probabilities).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

RULES = {"class": ("vote", "max", "gmean", "mean"), "tags": ("mean",), "values": ("mean",)}  # by what outputs mean
SMALLEST = 1e-12


def song_outputs(kind: str, rule: str, outputs: Tensor, rows: Tensor, n_songs: int) -> Tensor:
    """Outputs of songs, to be decoded as those of one clip.

    Args:
        kind: What outputs are: logits of one `class`, logits of `tags`, or `values`.
        rule: One of `RULES[kind]`.
        outputs: Of clips, `[systems, clips, n]`.
        rows: Number of every clip's song, `[clips]`.
        n_songs: How many there are.

    Returns:
        `[systems, n_songs, n]`.
    """
    outputs = outputs.double()
    empty = outputs.new_zeros(len(outputs), n_songs, outputs.shape[-1])
    if rule == "max":
        index = rows[None, :, None].expand_as(outputs)
        return empty.scatter_reduce(1, index, outputs, "amax", include_self=False)
    counts = rows.bincount(minlength=n_songs)[:, None]
    if rule == "vote":
        wide = outputs.shape[-1]
        votes = outputs.new_zeros(outputs.shape).scatter_(-1, outputs.argmax(-1, keepdim=True), 1.0)
        share = empty.index_add(1, rows, votes) / counts
        before = outputs.new_tensor(range(wide)) * (1e-6 / wide)  # of equal shares the first
        return share.clamp_min(SMALLEST).log() - before
    if rule == "mean" and kind == "class":
        return (empty.index_add(1, rows, outputs.softmax(-1)) / counts).clamp_min(SMALLEST).log()
    if rule == "mean" and kind == "tags":
        return (empty.index_add(1, rows, outputs.sigmoid()) / counts).logit(SMALLEST)
    return empty.index_add(1, rows, outputs) / counts
