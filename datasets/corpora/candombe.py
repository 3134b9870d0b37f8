"""Candombe: 35 performances of Uruguayan drumming (Nunes, Rocamora, Jure and Biscainho 2015)."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from datasets.beat_files import content_of, text_of
from datasets.beats import Beats
from datasets.corpora.rhythm import BeatAnnotations, corpus, read_file
from datasets.tables import CorpusError

TABLE = ".csv"


def name_of(path: PurePosixPath) -> str:
    """`csic.1995_ansina1_01`, of the audio and of `.csv` and `.beats`."""
    return path.stem


def read(file: Path) -> Beats:
    """The beats of a file: `.beats`, or a table of times and of bar and position as `12.3`.

    Raises:
        CorpusError: It is something else.
    """
    if file.suffix.casefold() != TABLE:
        return read_file(file)
    text = text_of(content_of(file), str(file))
    try:
        rows = [(float(time), int(label.split(".")[-1])) for time, label in csv.reader(text.splitlines())]
        return Beats([time for time, _ in rows], [position for _, position in rows])
    except (csv.Error, ValueError) as error:
        raise CorpusError(f"{file}: expected lines of a time and of bar and position, as 0.549,1.1 ({error})") from None


CANDOMBE = corpus(
    BeatAnnotations("candombe", name_of, suffixes=(".beats", TABLE), read=read),
    name="candombe",
    title="Candombe",
    single={"train": 30, "valid": 5},
    place=lambda item: f"candombe_audio/{item.id}.flac",
    source="candombe_audio.zip, zenodo.org/record/6533068",
    terms="CC BY 4.0",
)
