"""Ballroom: 30-second excerpts of ballroom dances (Gouyon et al. 2006), beats by Krebs, Böck and Widmer (2013).

Of 698 recordings 13 are repetitions of others; they were named by Sturm (2014), and are left out of the splits.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from datasets.corpora.rhythm import BeatAnnotations, corpus, stem

REPETITIONS = {
    "Albums-AnaBelen_Veneo-15": "Albums-AnaBelen_Veneo-03",
    "Albums-Ballroom_Magic-18": "Albums-Ballroom_Magic-03",
    "Albums-Chrisanne2-12": "Albums-AnaBelen_Veneo-11",
    "Albums-Fire-09": "Albums-Fire-08",
    "Albums-Latin_Jam-13": "Albums-Latin_Jam-04",
    "Albums-Latin_Jam-14": "Albums-Latin_Jam-08",
    "Albums-Latin_Jam-15": "Albums-Latin_Jam-06",
    "Albums-Latin_Jam2-13": "Albums-Latin_Jam2-05",
    "Albums-Latin_Jam2-14": "Albums-Latin_Jam2-02",
    "Albums-Latin_Jam2-15": "Albums-Latin_Jam2-07",
    "Media-103414": "Albums-Latin_Jam3-02",
    "Media-103415": "Media-103402",
    "Media-104705": "Albums-Secret_Garden-01",
}


def name_of(path: PurePosixPath) -> str:
    """`Media-103402`, also of `ballroom_Media-103402`."""
    return stem(path, "ballroom_")


ANNOTATIONS = BeatAnnotations(
    "ballroom", name_of, left_out={name: f"repetition of {other}" for name, other in REPETITIONS.items()}
)
BALLROOM = corpus(
    ANNOTATIONS,
    name="ballroom",
    title="Ballroom",
    single={"train": 582, "valid": 103},
    place=lambda item: f"BallroomData/{item.id}.wav",
    source="data1.tar.gz at mtg.upf.edu; the host is not always there",
    terms="no licence is known; for research",
)
