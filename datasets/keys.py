"""Keys as people write them, each read whole or not at all.

Names of notes are English (`C#m`, `Eb:maj`, `A-Flat Minor`), German and Scandinavian (`cis-moll`, `Es-Dur`) or Romance
(`sol# mineur`, `la menor`); software for DJs writes the codes of the Camelot wheel (`8A`, `8B`) or Open Key (`1m`,
`1d`). Where notes have German names B is B flat, and H is B: `B-Dur` says so itself, a mere `B` is told by the other
cells of its column (`settled`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

READABLE = (
    "'C major', 'Cm', 'Eb:maj', 'F# minor', 'A-flat major', 'cis-moll', 'la menor', '8A' (Camelot) or '1m' (Open Key); "
    "a small letter alone, which some take for minor, is not read"
)
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11, "H": 11}
SYLLABLES = {"do": 0, "ut": 0, "re": 2, "mi": 4, "fa": 5, "sol": 7, "la": 9, "si": 11}
B_FLAT = 10
SHIFTS = {
    "": 0,
    **dict.fromkeys(("#", "sharp", "is", "diese", "diesis", "sostenido", "sustenido"), 1),
    **dict.fromkeys(("b", "flat", "es", "s", "bemol", "bemolle"), -1),
    "##": 2,
    "bb": -2,
}
MODES = {
    **dict.fromkeys(("", "M", "maj", "major", "ionian", "dur", "mayor", "maior", "maggiore", "majeur"), "major"),
    **dict.fromkeys(("m", "min", "minor", "aeolian", "moll", "menor", "minore", "mineur"), "minor"),
}
GERMAN_MODES = ("dur", "moll")
GERMAN_SHIFTS = ("is", "es", "s")  # Dutch too, where B is B and Bes is B flat
LETTER = re.compile(r"([A-Ha-h])((?<![Bb])is|es|(?<=[AEae])s|#{1,2}|b{1,2}|[ _-]*(?i:sharp|flat))?[ :_-]*([A-Za-z]*)")
SYLLABLE = re.compile(
    r"(do|ut|re|mi|fa|sol|la|si)[ _-]*(#|b|diese|diesis|sostenido|sustenido|bemolle|bemol)?[ _-]*([a-z]{2,})"
)
ACCENTS = str.maketrans("àáèéìíòó", "aaeeiioo")
SIGNS = str.maketrans({"♯": "#", "♭": "b", "♮": "", "\ufe0e": "", "\ufe0f": "", **dict.fromkeys("‐‑‒–—−", "-")})
CODE = re.compile(r"0?([1-9]|1[0-2]) ?([ABab]|[Ddm])")
LONGEST = 80  # characters
TWO = re.compile(r"(.+?) ?\((.+)\)|(.+?) ?[/|] ?(.+)|(.+?) - (.+)|(\S+) (\S+)")


@dataclass(frozen=True)
class _KeyName:
    """A key by the name of its tonic.

    Attributes:
        tonic: Semitones above C.
        mode: `major` or `minor`; empty where nothing says so.
        bare: The letter or syllable alone.
        shift: Its accidental, as it is written.
        german: Whether B is B flat and H is B in its language.
    """

    tonic: int
    mode: str
    bare: str
    shift: str
    german: bool

    @property
    def number(self) -> int | None:
        """Of the key; None for a small letter alone."""
        if not self.mode and not self.bare[0].isupper():
            return None
        return self.tonic % 12 + 12 * (self.mode == "minor")


def parse_key(text: str) -> int | None:
    """Read a key; sharps and flats that sound alike are the same key.

    A capital alone is major; a small letter alone is not read. Two notations side by side (`Am (8A)`, `C#/Db minor`)
    must say the same.

    Returns:
        0..11 for the major keys from C up, 12..23 for the minor ones; None for anything else.
    """
    text = _plain(text)
    if len(text) > LONGEST:
        return None
    one = _one(text)
    return one if one is not None else _two(text)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).translate(SIGNS).split())


def _one(text: str) -> int | None:
    if code := CODE.fullmatch(text):
        return _of_code(int(code[1]), code[2])
    name = _named(text)
    return name.number if name else None


def _of_code(hour: int, ring: str) -> int:
    """The key at an hour of the Camelot wheel (8B is C major, 8A A minor) or of Open Key (1d and 1m are these)."""
    fifths = hour - (1 if ring in "Ddm" else 8)
    return (7 * fifths + 9) % 12 + 12 if ring in "Aam" else 7 * fifths % 12


def _named(text: str) -> _KeyName | None:
    if found := LETTER.fullmatch(text):
        letter, shift, mode = found.groups()
        shift, mode = (shift or "").strip(" _-").lower(), mode if mode in ("m", "M") else mode.lower()
        if mode not in MODES:
            return None
        german = letter in "Hh" or mode in GERMAN_MODES
        tonic = B_FLAT if letter in "Bb" and not shift and german else LETTERS[letter.upper()] + SHIFTS[shift]
        return _KeyName(tonic, MODES[mode] if mode else "", letter, shift, german)
    if found := SYLLABLE.fullmatch(text.lower().translate(ACCENTS)):
        syllable, shift, mode = found.groups()
        if mode in MODES:
            return _KeyName(SYLLABLES[syllable] + SHIFTS[shift or ""], MODES[mode], syllable, shift or "", False)
    return None


def _two(text: str) -> int | None:
    """A key written twice; None where the two do not say the same."""
    found = TWO.fullmatch(text)
    if not found:
        return None
    first, second = (part for part in found.groups() if part)
    one, other = _one(first), _one(second)
    if one is None or other is None:
        return None
    name, beside = _named(first), _named(second)
    if name and beside and not name.mode and name.bare.upper() != beside.bare.upper():  # C#/Db minor
        return other if one % 12 == other % 12 else None
    return one if one == other else None


def settled(column: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What can be told of keys only by looking at a whole column: whether B is B flat, and which codes are used.

    With Dur, moll or H anywhere in it, B is B flat. It can be either, and is not read, beside a Bb or Bes, or beside
    names such as Cis alone, which are Dutch too.

    Args:
        column: Its cells.

    Returns:
        What takes the place of some cells, and what to say.
    """
    counts = Counter(column)
    notes = _said_of_codes(counts)
    names = {cell: name for cell in counts if (name := _named(_plain(cell)))}
    german = [cell for cell, name in names.items() if name.german]
    perhaps = [cell for cell, name in names.items() if name.shift in GERMAN_SHIFTS]
    flats = [cell for cell, name in names.items() if name.bare in "Bb" and name.shift in ("b", "flat", "es")]
    alone = {cell: name for cell, name in names.items() if name.bare in "Bb" and not name.shift}
    alone = {cell: name for cell, name in alone.items() if name.number is not None}
    if not alone or not (german or perhaps):
        return {}, notes
    cells, one = sum(counts[cell] for cell in alone), next(iter(alone))
    if flats or not german:
        beside = " and ".join(map(repr, dict.fromkeys([*(german or perhaps)[:1], *flats[:1]])))
        notes.append(
            f"beside {beside} B can be B or B flat and is not read ({cells} of {counts.total()}, for instance "
            f"{one!r}); write B flat as Bb, and B as H"
        )
        return {cell: f"{cell} (B or B flat?)" for cell in alone}, notes
    notes.append(
        f"notes have German names, such as {german[0]!r}: B is read as B flat and H as B "
        f"({cells} of {counts.total()}, for instance {one!r})"
    )
    return {cell: f"Bb {name.mode or 'major'}" for cell, name in alone.items()}, notes


def _said_of_codes(counts: Mapping[str, int]) -> list[str]:
    codes: Counter[str] = Counter()
    for cell, count in counts.items():
        if code := CODE.fullmatch(_plain(cell)):
            codes["Open Key (1m is A minor)" if code[2] in "Ddm" else "Camelot (8A is A minor)"] += count
    return [f"{count} of {sum(counts.values())} are codes of {wheel}" for wheel, count in sorted(codes.items())]
