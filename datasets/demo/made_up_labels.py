"""Annotations in the layout of corpora whose own do not come with the project; tracks and people do not exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count, islice
from pathlib import Path

from datasets.corpora import find, msd
from datasets.corpora.jamendo import COLUMNS, PARTS, SUBSETS, table
from datasets.demo.output import write_text

TAGS = 12
FIRST = (1, 400_001, 700_001)  # made-up track of every split
FEW = {"train": 60, "valid": 20, "test": 20}  # tracks, where as many are annotated as the tables say
SPEAKERS = {"train-clean-100": 8, "test-clean": 3}
UTTERANCES = 25  # of a speaker


def make_up_jamendo(folder: Path) -> Path:
    """Tables of the layout and size of MTG-Jamendo's, with tracks, artists and tags that do not exist.

    A track is in the same split of every protocol, and those of the smallest protocol are in all of them.
    """
    folder, counts = folder / "mtg-jamendo-dataset", find("jamendo").counts
    for protocol, subset in SUBSETS.items():
        names = [f"{subset}---{number:02d}" for number in range(TAGS)]
        tags = ["\t".join(sorted({name, names[number * 5 % TAGS]})) for number, name in enumerate(names)]
        for first, (part, split) in zip(FIRST, PARTS.items(), strict=True):
            file = folder / table(subset, part)
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = ["\t".join(COLUMNS)]
            for number in range(first, first + counts[protocol][split]):
                identity = f"track_{number:07d}\tartist_{number // 10:06d}\talbum_{number // 10:06d}"
                lines.append(f"{identity}\t{number % 100:02d}/{number}.mp3\t200.0\t{tags[number % TAGS]}")
            write_text(file, "\n".join(lines) + "\n")
    return folder


def make_up_msd(folder: Path) -> Path:
    """Tables of the layout of the Million Song Dataset's; files are called by ids of 7digital."""
    folder, numbers = folder / msd.FOLDER, count(1)
    folder.mkdir(parents=True, exist_ok=True)
    index: list[str] = []
    write_text(folder / msd.TAGS, f"# Output labels\nMSD_LABELS = {[f'tag {tag:02d}' for tag in range(TAGS)]}\n")
    for split, file in msd.TABLES.items():
        lines = []
        for number in islice(numbers, FEW[split]):
            identity = f"TRAAA{number:013d}"
            lines.append(f"{identity}\t{[int(tag in (number % TAGS, number * 5 % TAGS)) for tag in range(TAGS)]}")
            index.append(f"{identity}\t{number % 10}/{number // 10 % 10}/{1_000_000 + number}.clip.mp3")
        write_text(folder / file, "\n".join(lines) + "\n")
    write_text(folder / msd.INDEX, "\n".join(index) + "\n")
    return folder


def make_up_librispeech(folder: Path) -> Path:
    """Transcripts of the layout of LibriSpeech's, a chapter a speaker."""
    for first, (part, speakers) in zip((100, 900), SPEAKERS.items(), strict=True):
        for speaker in range(first, first + speakers):
            chapter = folder / part / str(speaker) / "1"
            chapter.mkdir(parents=True, exist_ok=True)
            lines = [f"{speaker}-1-{number:04d} NOT A WORD" for number in range(UTTERANCES)]
            write_text(chapter / f"{speaker}-1.trans.txt", "\n".join(lines) + "\n")
    return folder


MADE_UP: Mapping[str, Callable[[Path], Path]] = {
    "jamendo": make_up_jamendo,
    "msd": make_up_msd,
    "librispeech": make_up_librispeech,
}  # makes them below the folder of the audio; the folder that holds them
