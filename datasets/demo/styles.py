"""The styles and the instruments of the demo corpus, as data.

A style is told by its rhythm and harmony alone. Instruments, drum sounds, registers, levels and keys are drawn from
pools that all styles share, so that an average spectrum says little about the style.

Rhythms are written on a grid of four steps a beat: 16 characters for a bar of 4/4, 12 for one of 3/4, and a multiple of
that for a pattern of several bars. In every pattern `.` is silence and `-` holds the note before.
    drums   `X` accent, `x` normal, `o` soft
    bass    `R` root, `3` `5` `7` chord degrees, `8` octave, `a` a step from the next root
    comp    `X` `x` `o` the whole chord, `1` `2` `3` `4` one voice of it (arpeggio)
    melody  `x` a note
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """One style: what is played when, and over which chords.

    Attributes:
        tempo: slowest and fastest beats per minute.
        swing: range of the point, in parts of the swung unit, at which its second half begins; 0.5 is straight.
        swing_unit: the swung unit in beats: 1 swings eighths, 0.5 swings sixteenths.
        low, mid, high: drum patterns for the voices that kick, snare and timekeeper take.
    """

    tempo: tuple[int, int]
    low: tuple[str, ...]
    mid: tuple[str, ...]
    high: tuple[str, ...]
    bass: tuple[str, ...]
    comp: tuple[str, ...]
    melody: tuple[str, ...]
    major: tuple[str, ...]
    minor: tuple[str, ...]
    beats: int = 4
    swing: tuple[float, float] = (0.5, 0.5)
    swing_unit: float = 1.0


STYLES: dict[str, Style] = {
    "rock": Style(
        tempo=(84, 174),
        low=("X.......X.x.....", "X.x.....X.x.....", "X......xX......."),
        mid=("....X.......X...",),
        high=("x.x.x.x.x.x.x.x.", "X...x...X...x..."),
        bass=("R.R.R.R.R.R.R.R.", "R-R.R-R.R-R.5-8.", "R-R.R-R.R-R.R-a."),
        comp=("X-----x-X-----x-", "X-x-X-x-X-x-X-x-", "X-------X-x-X---"),
        melody=("x---x-x-x---x---", "x-x-x---x-x-x---", "x-----x-x-------"),
        major=("I | V | vi | IV", "I | bVII | IV | I", "I | IV | V | IV", "vi | IV | I | V"),
        minor=("i | VI | III | VII", "i | VII | VI | VII", "i | III | VII | iv"),
    ),
    "funk": Style(
        tempo=(80, 132),
        low=("X..x......x..x..", "X.....x..xx.....", "X..X..x...x....."),
        mid=("....X..o.o..X..o", "....X.o...o.X..."),
        high=("x.xxx.x.x.xxx.x.", "x.x.x.xxx.x.x.xx"),
        bass=("R..R..8....5R.7.", "R-.R...7.8..5.a.", "R..8..R...7..5R."),
        comp=("..x..x....x..x..", "...x..x....x..x.", "x..x......xx...."),
        melody=("x..x..x-..x.x...", "..xx.x-...xx.x-.", "x.x..x.x-......."),
        major=("I9 | I9 | IV9 | I9", "I7 | IV9 | I7 | IV9", "I9 | I9 | I9 | bVII9"),
        minor=("i7 | IV9 | i7 | IV9", "i9 | i9 | iv9 | i9", "i7 | i7 | VII7 | i7"),
        swing=(0.5, 0.58),
        swing_unit=0.5,
    ),
    "house": Style(
        tempo=(100, 140),
        low=("X...X...X...X...",),
        mid=("....X.......X...", "....X..x....X..."),
        high=("..X...X...X...X.", "..X..oX...X..oX."),
        bass=("..R...R...R...R.", "..R.R.R...R.R.8.", "..RR..R...RR..5."),
        comp=("X..X..X..X..X...", "..X-.X-...X-.X-.", "x..x..x...x..x.."),
        melody=("x-----------x-x-", "x.x..x.x..x.x...", "..x-..x-..x---.."),
        major=("Imaj7 | ii7 | IVmaj7 | ii7", "vi7 | IVmaj7 | Iadd9 | V", "IVmaj7 | iii7 | vi7 | vi7"),
        minor=("i7 | i7 | VImaj7 | VII", "i7 | v7 | VImaj7 | iv7", "i9 | i9 | iv9 | iv9"),
        swing=(0.5, 0.56),
        swing_unit=0.5,
    ),
    "reggae": Style(
        tempo=(66, 132),
        low=("........X.......", "........X.......", "X.......X......."),
        mid=("........X.......", "........X.....o."),
        high=("x.x.x.x.x.x.x.x.", "x.xxx.xxx.xxx.xx"),
        bass=("R-..R.5.....3.5.", "..R-R...5-..8.5.", "R-----..R.3.5-.."),
        comp=("....X.......X...", "..X...X...X...X.", "....Xx......Xx.."),
        melody=("x---x---..x-x-..", "..x-x-..x-----..", "x-x-x-......x-x-"),
        major=("I | IV | I | IV", "I | ii | I | ii", "I | V | IV | IV", "I | IV | V | IV"),
        minor=("i | iv | i | iv", "i | VII | i | VII", "i | i | iv | v"),
        swing=(0.5, 0.6),
    ),
    "bossa": Style(
        tempo=(92, 170),
        low=("X.....x.X.....x.",),
        mid=("X.....X.....X.......X.....X.....", "....X.....X.....X.....X.....X..."),
        high=("x.x.x.x.x.x.x.x.", "X.x.x.X.x.x.X.x."),
        bass=("R-----5.5-----R.", "R-----5-5-----5-", "R-----3.5-----a."),
        comp=(
            "X-....x-....X-......x-....X-....",
            "X-....X-....x-..x-....X-..x-....",
            "x...x.....x...x.....x.....x...x.",
        ),
        melody=("x-----x-----x---", "..x-x---x-....x-", "x---..x-..x-x---"),
        major=("Imaj7 | II7 | ii7 | V7", "Imaj7 | vi7 | ii7 | V7b9", "Imaj7 | bIImaj7 | Imaj7 | ii7 V7"),
        minor=("i6 | i6 | iim7b5 | V7b9", "i7 | iv7 | VImaj7 | V7b9", "i9 | IV9 | bIImaj7 | V7b9"),
    ),
    "swing": Style(
        tempo=(96, 178),
        low=("o...o...o...o...", "X.......x.....x.", "X.....x.....X..."),
        mid=("....x.......x...", "....x.....o.x...", "..x...........x."),
        high=("X...x.x.X...x.x.", "X.x.X...X.x.X..."),
        bass=("R---3---5---a---", "R---5---3---a---", "R---7---5---a---", "R---3---5---7---8---7---5---a---"),
        comp=("X-....x-........", "......X-....x-..", "..X-......X-....", "X-....X-......x-"),
        melody=("x-x-x---..x-x-x-", "..x-x-x-x---....", "x---x-x-..x-....", "x-x-x-x-x-x-x---"),
        major=("Imaj7 vi7 | ii7 V7", "Imaj7 | VI7 | ii7 | V7", "I7 | IV7 | I7 | V7", "iii7 | VI7 | ii7 | V7"),
        minor=("i6 | iim7b5 V7b9 | i6 | i6", "i7 | iv7 | iim7b5 | V7b9", "i6 VI7 | iim7b5 V7b9"),
        swing=(0.62, 0.69),
    ),
    "tango": Style(
        tempo=(84, 140),
        low=("X.....x.X...x...", "X.....X.....X...", "X.......X......."),
        mid=("............X...", "......X.........", "..............xx"),
        high=("x...x...x...x...", "X.....X.....X...", "x.....x.x...x..."),
        bass=("R-----5.5---R---", "R-----R-----5-a-", "R---R---R---a-a-", "R---R---5---R---"),
        comp=("X...X...X...X...", "X.X-..X.X...X...", "X.....X.....X..."),
        melody=("x---x-xxx---x---", "x-xxx-x-x-xxx---", "..xxx-x-x-----..", "x-----x-x---x-x-"),
        major=("I | V7 | V7 | I", "I | VI7 | ii | V7", "I | I7 | IV | V7"),
        minor=("i | V7 | V7 | i", "i | iv | V7 | i", "i VII | VI V7", "i | bII | V7 | i"),
    ),
    "march": Style(
        tempo=(84, 144),
        low=("X.......X.......",),
        mid=("x..xx.x.x..xx.x.", "x.xxx.x.x.xxx.xx", "X...x.xxX...x.x."),
        high=("....x.......x...", "X.......X......."),
        bass=("R---5---R---5---", "R...5...R...a...", "R---3---5---5---"),
        comp=("....X.......X...", "..X...X...X...X.", "....X.....X.X..."),
        melody=("x---x--xx---x---", "x--xx---x--xx---", "x---x---x--xx---"),
        major=("I | V7 | V7 | I", "I | IV | V7 | I", "I | II7 | V7 | I", "I | I | IV | V7"),
        minor=("i | V7 | i | V7", "i | iv | i | V7", "i | III | VII | III"),
    ),
    "waltz": Style(
        tempo=(84, 178),
        low=("X...........",),
        mid=("....x...x...", "....x...x.o.", "........x..."),
        high=("x...x...x...", "x...x.x.x...", "X.x.x.x.x.x."),
        bass=("R-----------", "R---........R---....5---", "R-------5---"),
        comp=("....X-..x-..", "....X...X...", "....x---x---"),
        melody=("x-------x---", "x---x---x---", "x-----x-x-x-", "x-----------"),
        major=("I | I | V7 | V7", "I | vi | ii | V7", "I | IV | V7 | I", "I | VI7 | ii | V7"),
        minor=("i | iv | V7 | i", "i | i | V7 | V7", "i | VI | iv | V7"),
        beats=3,
    ),
    "ballad": Style(
        tempo=(62, 104),
        low=("X.........x.....", "X.....x...x....."),
        mid=("........X.......", "....x.......x..."),
        high=("x.x.x.x.x.x.x.x.", "x...x...x...x..."),
        bass=("R-------5-----a-", "R-----R-5-------", "R-----------3---"),
        comp=("1-2-3-4-3-2-3-2-", "1.2.3.2.4.2.3.2.", "1-3-2-3-4-3-2-3-", "1.23423412342321"),
        melody=("x-----x-x-x-x---", "..x-x-x-x-------", "x-------..x-x-x-"),
        major=("I | iii7 | IV | V", "Iadd9 | V | vi7 | IV", "I | IV | ii7 | Vsus4 V", "IV | V | iii7 | vi"),
        minor=("i | VI | III | VII", "i7 | iv7 | VII | IIIadd9", "i | v7 | VImaj7 | iv"),
    ),
}

GENRES = tuple(STYLES)


@dataclass(frozen=True)
class Family:
    """An instrument family (a tag): its General MIDI programs (0-127) and the compass of its melodies (MIDI)."""

    programs: tuple[int, ...]
    low: int
    high: int


FAMILIES: dict[str, Family] = {
    "piano": Family((0, 3), 45, 88),
    "electric piano": Family((4, 5), 45, 84),
    "mallets": Family((11, 12), 53, 88),
    "organ": Family((16, 17, 18, 19), 45, 84),
    "guitar": Family((24, 25), 45, 79),
    "electric guitar": Family((27, 29, 30), 45, 79),
    "strings": Family((40, 48, 49), 50, 88),
    "voice": Family((52, 53, 54), 50, 79),
    "brass": Family((56, 57, 60, 61), 48, 77),
    "reed": Family((64, 66, 68, 71), 50, 82),
    "flute": Family((73, 74, 75), 60, 91),
    "synth lead": Family((80, 81), 50, 86),
    "synth pad": Family((89, 91, 92, 94), 48, 80),
    "bass": Family((32, 33, 34, 35), 28, 52),
    "drums": Family((0,), 35, 81),
}
TAGS = tuple(FAMILIES)

ROLES: dict[str, dict[str, int]] = {  # which families may take a part, and their weights, whatever the style
    "bass": {"bass": 1},
    "comp": {"piano": 1, "electric piano": 1, "organ": 1, "guitar": 1, "electric guitar": 1, "mallets": 1},
    "lead": {
        "flute": 3,
        "synth lead": 3,
        "reed": 2,
        "brass": 2,
        "strings": 1,
        "voice": 1,
        "mallets": 1,
        "electric guitar": 1,
        "piano": 1,
    },
    "pad": {"synth pad": 3, "strings": 2, "voice": 2, "brass": 1, "reed": 1},
}
PRESENCE = {
    "drums": 0.85,
    "bass": 0.85,
    "comp": 0.95,
    "lead": 0.75,
    "pad": 0.45,
}  # how often a part plays, in any style
KIT = {"low": (35, 36), "mid": (37, 38, 39, 40), "high": (42, 51, 54, 69, 70)}  # General MIDI drum keys for each voice
LEVELS = {
    "low": -3,
    "mid": -4,
    "high": -11,
    "bass": -2,
    "comp": -4,
    "lead": -1,
    "pad": -7,
}  # dB, about which parts vary
