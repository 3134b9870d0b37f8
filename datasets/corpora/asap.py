"""ASAP: performances of piano music as MIDI, of which 473 have audio (Foscarin et al. 2020)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from datasets.beat_files import content_of, text_of
from datasets.beats import Beats, bar_positions
from datasets.corpora.rhythm import BeatAnnotations, corpus
from datasets.tables import CorpusError

ENDING = "_annotations"
COMPOSERS = (
    *("Bach", "Balakirev", "Beethoven", "Brahms", "Chopin", "Debussy", "Glinka", "Haydn", "Liszt", "Mozart"),
    *("Prokofiev", "Rachmaninoff", "Ravel", "Schubert", "Schumann", "Scriabin"),
)
BEAT, DOWNBEAT = ("b", "bR"), "db"
RENAMED = ("Schumann_Toccata_no_repeat", "Schumann_Toccata_repeat"), "Schumann_Toccata"  # between its versions


def name_of(path: PurePosixPath) -> str:
    """`Bach_Fugue_bwv_846_Shi05M`, also of `Bach/Fugue/bwv_846/Shi05M.wav` and its `Shi05M_annotations.txt`."""
    parts = [*path.parts[:-1], path.stem.removesuffix(ENDING)]
    first = max((place for place, part in enumerate(parts) if part in COMPOSERS), default=len(parts) - 1)
    name = "_".join(parts[first:])
    for old in RENAMED[0]:
        name = name.replace(old, RENAMED[1])
    return name


def read(file: Path) -> Beats:
    """The beats of a file of ASAP: time, time, and `b` or `db` with what else changes there, parted by tabs.

    Raises:
        CorpusError: It is something else.
    """
    times, downbeats, text = [], [], text_of(content_of(file), str(file))
    try:
        for line in text.splitlines():
            time, _, said = line.split("\t")[:3]
            kind = said.split(",")[0].strip()
            if kind not in (*BEAT, DOWNBEAT):
                raise ValueError(f"{kind!r} is neither b nor db")
            times.append(float(time))
            downbeats.append(kind == DOWNBEAT)
        order = np.argsort(times, kind="stable")
        found, first = np.unique(np.array(times)[order], return_index=True)
        return Beats(found, bar_positions(np.array(downbeats, bool)[order][first]))
    except ValueError as error:
        raise CorpusError(f"{file}: expected lines of time, time, and b or db, as ASAP has them ({error})") from None


ASAP = corpus(
    BeatAnnotations("asap", name_of, suffixes=(".beats", f"{ENDING}.txt"), read=read),
    name="asap",
    title="ASAP",
    single={"train": 408, "valid": 65},
    place=lambda item: f"audio/{item.id}.wav",
    source="MAESTRO 2.0.0, from which initialize_dataset.py of fosfrancesco/asap-dataset cuts the audio",
    terms="CC BY-NC-SA 4.0",
)
