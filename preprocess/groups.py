"""How the files of a folder are shared out among workers: longest first, in groups that keep all of them busy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from joblib import effective_n_jobs

from preprocess.files import Candidate
from preprocess.summaries import SUMMARIES

# Of files that a worker is given at a time; what it makes of them is committed together.
GROUP_TRACKS, GROUP_BYTES = 256, 64 * 2**20
GROUPS = 4  # that every worker gets at least, where there are files enough
# Of audio files: one worker decodes this sooner than another has started.
WORKER_BYTES = 16 * 2**20


def processes(files: Sequence[Candidate], recipe: str, jobs: int) -> int:
    """How many processes of this machine are worth their start."""
    worth = min(len(files), 1 + total_bytes(files) // WORKER_BYTES)
    if recipe in SUMMARIES:
        worth = max(worth, 2)  # two are processes of their own: a crash in compiled code does not end this one
    return min(effective_n_jobs(jobs), worth)


def groups(files: Sequence[Candidate], workers: int) -> Iterator[list[Candidate]]:
    """Longest files first, so that the last ones to finish are short."""
    most = min(GROUP_TRACKS, max(1, len(files) // (GROUPS * workers)))
    heaviest = min(GROUP_BYTES, total_bytes(files) // (GROUPS * workers))
    group: list[Candidate] = []
    for file in sorted(files, key=lambda file: (-file.bytes, file.id)):
        if group and (len(group) == most or total_bytes([*group, file]) > heaviest):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def total_bytes(files: Sequence[Candidate]) -> int:
    """Of files that may be missing or empty, but still take a moment each."""
    return sum(max(file.bytes, 1) for file in files)
