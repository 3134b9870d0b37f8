"""ASAP: performances of piano music as MIDI, of which 473 have audio (Foscarin et al. 2020)."""

from __future__ import annotations

from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus

ENDING = "_annotations"
COMPOSERS = (
    *("Bach", "Balakirev", "Beethoven", "Brahms", "Chopin", "Debussy", "Glinka", "Haydn", "Liszt", "Mozart"),
    *("Prokofiev", "Rachmaninoff", "Ravel", "Schubert", "Schumann", "Scriabin"),
)
RENAMED = ("Schumann_Toccata_no_repeat", "Schumann_Toccata_repeat"), "Schumann_Toccata"  # between its versions


def name_of(path: PurePosixPath) -> str:
    """`Bach_Fugue_bwv_846_Shi05M`, also of `Bach/Fugue/bwv_846/Shi05M.wav` and its `Shi05M_annotations.txt`."""
    parts = [*path.parts[:-1], path.stem.removesuffix(ENDING)]
    first = max((place for place, part in enumerate(parts) if part in COMPOSERS), default=len(parts) - 1)
    name = "_".join(parts[first:])
    for old in RENAMED[0]:
        name = name.replace(old, RENAMED[1])
    return name


ASAP = corpus(
    BeatAnnotations("asap", name_of, suffixes=(".beats", f"{ENDING}.txt")),
    name="asap",
    title="ASAP",
    single={"train": 408, "valid": 65},
    place=lambda item: f"audio/{item.id}.wav",
    source="MAESTRO 2.0.0, from which initialize_dataset.py of fosfrancesco/asap-dataset cuts the audio",
    terms="CC BY-NC-SA 4.0",
)
