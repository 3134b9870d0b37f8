"""Groove MIDI: human drumming to a click (Gillick et al. 2019), of which the 336 longer beats are used.

The click is exact: its tempo, in quarters, and its metre stand in the name of a file, and it ends with the performance.
In 6/8 the beats are dotted quarters, two a bar; the common release counts six of them in a bar.
"""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath

import numpy as np

from datasets.beats import Beats
from datasets.corpora.rhythm import BeatAnnotations, corpus, read_file
from datasets.tables import CorpusError

MIDI = ".mid"
EIGHTH, COMPOUND = 8, 3  # three eighths are a beat where a bar has six, nine or twelve of them
FASTEST, MOST, LONGEST = 1000, 64, 86_400  # BPM, number in a metre, seconds; what goes beyond is damaged
CLICK = re.compile(r".*_([0-9]+)_(?:beat|fill)_([0-9]+)-([0-9]+)")


def name_of(path: PurePosixPath) -> str:
    """`drummer1_session1_1_funk_80_beat_4-4`, also of `drummer1/session1/1_funk_80_beat_4-4.mid`."""
    folders = path.parts[-3:-1]
    return "_".join([*folders, path.stem]) if len(folders) == 2 and folders[0].startswith("drummer") else path.stem


def read(file: Path) -> Beats:
    """The click of a performance, or the beats of a file of beats.

    Raises:
        CorpusError: It is no MIDI file, or none of this corpus.
    """
    if file.suffix.casefold() != MIDI:
        return read_file(file)
    import symusic

    found = CLICK.fullmatch(file.stem)
    if found is None:
        raise CorpusError(f"{file}: expected a name that ends in tempo and metre, as 1_funk_80_beat_4-4.mid")
    try:
        seconds = symusic.Score(file).to("second").end()
    except (RuntimeError, ValueError, OSError) as error:
        raise CorpusError(f"{file}: not a MIDI file that can be read ({error})") from None
    bpm, metre, unit = map(int, found.groups())
    if not (0 < bpm <= FASTEST and 0 < metre <= MOST and 0 < unit <= MOST and seconds <= LONGEST):
        raise CorpusError(f"{file}: {bpm} BPM, {metre}/{unit}, {seconds:.0f} s: no performance of this corpus")
    grouped = COMPOUND if unit == EIGHTH and metre > COMPOUND and metre % COMPOUND == 0 else 1
    interval = 60 / bpm * 4 / unit * grouped
    numbers = np.arange(math.ceil(seconds / interval))
    return Beats(numbers * interval, numbers % (metre // grouped) + 1)


GROOVE_MIDI = corpus(
    BeatAnnotations("groove_midi", name_of, suffixes=(".beats", MIDI), read=read),
    name="groove_midi",
    title="Groove MIDI",
    single={"train": 285, "valid": 51},
    place=lambda item: f"audio/{item.id}.wav",
    source="groove-v1.0.0.zip, magenta.tensorflow.org/datasets/groove",
    terms="CC BY 4.0",
)
