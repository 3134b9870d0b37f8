"""Files of beats as corpora have them: what stands in one tells how it is written, and a file is read whole or refused.

Text has one beat a line, parted by blanks or tabs: the time in seconds, then the position in the bar (1 is the
downbeat, 0 outside of a bar or unknown), then the number of the bar, as Harmonix writes it; the last two may be
missing. RWC's text has the start and the end in hundredths of a second and a code, 384 for a downbeat and -1 for
what is no beat. ASAP's has the time twice, then `b` or `db` for a downbeat, with what else changes there. Isophonics'
has `New Point` in place of some positions. JAMS (Humphrey et al., ISMIR 2014) is read as the JSON that it is.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets import plain_json
from datasets.beats import DOWNBEAT, OUTSIDE, Beats, bar_positions
from datasets.cells import NUMBER
from datasets.tables import CorpusError
from datasets.text import pluralize, shown

LARGEST = 2**24  # bytes of a file
COMMENT = "#"
UNKNOWN = ("-", "?", "nan", "none", "null")
NEW_POINT = ("new", "point")
CENTISECONDS = 100.0  # of RWC's files, a second
DOWNBEAT_CODE, NO_BEAT_CODE = 384, -1
LEAST_CODE = 24  # above any position in a bar
ASAP_BEATS, ASAP_DOWNBEAT = ("b", "bR"), "db"
NAMESPACES = ("beat_position", "beat")  # of JAMS; the first says more
HIGHEST = 1000  # position in a bar
EXPECTED = "a time in seconds, and at most a position in the bar and a bar number, parted by blanks or tabs"
MENDED = {  # what is put right in a file, and how it is said of several files
    "unordered": "not in order of time",
    "repeated": "with beats at the same time, of which one is kept",
    "negative": "with beats before 0 s, which are left out",
}


@dataclass(frozen=True)
class FoundBeats:
    """The beats of a file.

    Attributes:
        beats: In order.
        mended: What was put right, keys of `MENDED`, with the number of beats.
    """

    beats: Beats
    mended: Mapping[str, int] = field(default_factory=dict)


def read_beats(file: Path) -> FoundBeats:
    """Read a file of beats; one without any is an annotation without beats.

    Raises:
        CorpusError: It is missing, or none of the formats above; names the line.
    """
    return parse_beats(content_of(file), str(file))


def content_of(file: Path) -> bytes:
    """The bytes of a file of beats, `LARGEST` and one at most.

    Raises:
        CorpusError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise CorpusError(f"{file}: cannot be read ({error.strerror or error})") from None


def text_of(content: bytes, where: str) -> str:
    """The same as text, in which what is not UTF-8 is replaced.

    Raises:
        CorpusError: It is larger than the beats of a recording are, or no text.
    """
    if len(content) > LARGEST:
        raise CorpusError(f"{where}: more than {LARGEST >> 20} MiB are no beats of one recording")
    text = content.decode("utf-8-sig", errors="replace")
    if "\0" in text:
        raise CorpusError(f"{where}: no text, expected {EXPECTED}")
    return text


def parse_beats(content: bytes, where: str) -> FoundBeats:
    """Beats of the content of a file, which `where` names in messages; as `read_beats`."""
    text = text_of(content, where)
    if text.lstrip().startswith(("{", "[")):
        return beats_of_json(text, where)
    rows = list(_rows(text, where))
    if _is_rwc(rows):
        return _rwc(rows)
    if rows and all(_asap_kind(row) for _, row in rows):
        return _of_downbeats([(_time(row[0], at), _asap_kind(row) == ASAP_DOWNBEAT) for at, row in rows])
    return ordered((_time(row[0], at), _position(row[1] if len(row) > 1 else "", at)) for at, row in rows)


def ordered(beats: Iterable[tuple[float, int | None]]) -> FoundBeats:
    """Beats in order of time, each once and none before 0, of any pairs of time and position.

    A position of None is unknown. Where no position is known, nothing is known of bars.
    """
    pairs = list(beats)
    times = np.array([time for time, _ in pairs], np.float64)
    positions = np.array([position or OUTSIDE for _, position in pairs], np.int64)
    mended: Counter[str] = Counter()
    mended["unordered"] = int((np.diff(times) < 0).sum())
    order = np.lexsort((positions == OUTSIDE, times))  # of beats at the same time, one with a known position first
    times, positions = times[order], positions[order]
    kept = np.ones(len(times), bool)
    kept[1:] = np.diff(times) > 0
    mended["repeated"] = int((~kept).sum())
    mended["negative"] = int((kept & (times < 0)).sum())
    kept &= times >= 0
    known = bool(positions[kept].any())
    return FoundBeats(Beats(times[kept], positions[kept] if known else None), {k: n for k, n in mended.items() if n})


def beats_of_json(text: str, where: str) -> FoundBeats:
    """Beats of JAMS, or of a list of times or of pairs of time and position.

    Raises:
        CorpusError: It is no JSON, or holds something else.
    """
    try:
        content = plain_json.parse(text)
    except ValueError as error:
        raise CorpusError(f"{where}: JSON that cannot be read ({error})") from None
    if isinstance(content, list):
        return beats_of_list(content, where)
    found = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise CorpusError(f"{where}: JSON without annotations, expected JAMS or a list of times")
    named = [one for one in found if isinstance(one, dict) and isinstance(one.get("namespace"), str)]
    by_namespace = {one["namespace"]: one for one in reversed(named)}
    chosen = next((by_namespace[name] for name in NAMESPACES if name in by_namespace), None)
    if chosen is None:
        there = ", ".join(sorted(by_namespace)) or "no annotation"
        raise CorpusError(f"{where}: JAMS without {' or '.join(NAMESPACES)}; there is {there}")
    return ordered(_jams_beats(chosen.get("data"), where))


def beats_of_list(values: Sequence[Any], where: str) -> FoundBeats:
    """Beats of a list of times in seconds, or of pairs of time and position, numbers or texts.

    Raises:
        CorpusError: It holds something else.
    """
    pairs = []
    for number, one in enumerate(values, 1):
        pair, at = one if isinstance(one, list | tuple) else (one,), f"{where}, beat {number}"
        if not 1 <= len(pair) <= 2:
            raise CorpusError(f"{at}: {shown(one)}; expected a time, or a time and a position")
        position = "" if len(pair) < 2 or pair[1] is None else str(pair[1])
        pairs.append((_time(str(pair[0]), at), _position(position, at)))
    return ordered(pairs)


def beats_text(beats: Beats) -> str:
    """Beats as text, `time TAB position`, or the time alone where nothing is known of bars; to a tenth of a
    millisecond."""
    times = [f"{time:.4f}" for time in beats.times.tolist()]
    if beats.positions is None:
        return "".join(f"{time}\n" for time in times)
    return "".join(f"{time}\t{position}\n" for time, position in zip(times, beats.positions.tolist(), strict=True))


def write_beats(file: Path, beats: Beats) -> None:
    """Write `beats_text` aside, then put it in place."""
    aside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    aside.write_text(beats_text(beats), encoding="utf-8")
    os.replace(aside, file)


def mended_notes(found: Iterable[FoundBeats]) -> list[str]:
    """What was put right in many files, a line for each kind."""
    files = Counter(kind for one in found for kind in one.mended)
    return [f"{pluralize(files[kind], 'annotation')} of beats {said}" for kind, said in MENDED.items() if files[kind]]


def _rows(text: str, where: str) -> Iterator[tuple[str, list[str]]]:
    """Lines that say something: where each stands, and its fields."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.partition(COMMENT)[0].split()
        if tuple(one.casefold() for one in fields[1:]) == NEW_POINT:
            fields = [fields[0], "-"]
        if len(fields) > 3:
            raise CorpusError(f"{where}, line {number}: {shown(line.strip())}; expected {EXPECTED}")
        if fields:
            yield f"{where}, line {number}", fields


def _is_rwc(rows: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether rows are those of RWC: whole numbers, an end that is not before its start, and codes, not bar numbers."""
    try:
        values = [[int(one) for one in fields] for _, fields in rows]
    except ValueError:
        return False
    if not values or any(len(row) != 3 or row[1] < row[0] for row in values):
        return False
    return any(code == NO_BEAT_CODE or code >= LEAST_CODE for _, _, code in values)


def _rwc(rows: Sequence[tuple[str, Sequence[str]]]) -> FoundBeats:
    starts_codes = [(int(start) / CENTISECONDS, int(code)) for _, (start, _, code) in rows]
    return _of_downbeats([(start, code == DOWNBEAT_CODE) for start, code in starts_codes if code != NO_BEAT_CODE])


def _asap_kind(fields: Sequence[str]) -> str:
    """`b`, `bR` or `db` of a line of ASAP; nothing of any other."""
    kind = fields[2].split(",")[0] if len(fields) == 3 else ""
    return kind if kind in (*ASAP_BEATS, ASAP_DOWNBEAT) else ""


def _of_downbeats(beats: Sequence[tuple[float, bool]]) -> FoundBeats:
    """Beats of which it is known whether they are downbeats; of two at the same time, one that is goes first."""
    found = ordered((time, DOWNBEAT if downbeat else None) for time, downbeat in beats)
    downbeats = np.isin(found.beats.times, found.beats.downbeats)
    return replace(found, beats=Beats(found.beats.times, bar_positions(downbeats)))


def _jams_beats(data: Any, where: str) -> list[tuple[float, int | None]]:
    """Pairs of an annotation, whose data are a list of observations or, in old files, a list by field."""
    if isinstance(data, dict) and all(isinstance(data.get(key), list) for key in ("time", "value")):
        if len(data["time"]) != len(data["value"]):
            raise CorpusError(f"{where}: JAMS with {len(data['time'])} times and {len(data['value'])} values of beats")
        data = [{"time": time, "value": value} for time, value in zip(data["time"], data["value"], strict=True)]
    if not isinstance(data, list):
        raise CorpusError(f"{where}: JAMS whose beats have no list of data")
    pairs = []
    for number, one in enumerate(data, 1):
        at = f"{where}, beat {number}"
        if not isinstance(one, dict) or "time" not in one:
            raise CorpusError(f"{at}: {shown(one)}; expected a time and a value")
        value = one.get("value")
        value = value.get("position") if isinstance(value, dict) else value
        pairs.append((_time(str(one["time"]), at), _position("" if value is None else str(value), at)))
    return pairs


def _time(text: str, where: str) -> float:
    if not NUMBER.fullmatch(text) or not np.isfinite(time := float(text)):
        raise CorpusError(f"{where}: {shown(text)} is no time in seconds; expected {EXPECTED}")
    return time


def _position(text: str, where: str) -> int | None:
    """The position in the bar that a field says; None where it says none."""
    if not text or text.casefold() in UNKNOWN:
        return None
    position = float(text) if NUMBER.fullmatch(text) else -1.0
    if not 0 <= position <= HIGHEST or not position.is_integer():
        raise CorpusError(f"{where}: {shown(text)} is no position in a bar; expected 1, 2, ..., or 0 for none")
    return int(position)
