"""A SoundFont 2 file -> the zones that a key plays, with every setting resolved.

The format: SoundFont Technical Specification 2.04 (E-mu, 2005). A preset has zones, each of which names an instrument;
an instrument has zones, each of which names a sample. Settings of an instrument's zone replace the defaults, settings
of a preset's zone are added to them (section 9.4). Modulators, fixed velocities and exclusive classes are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.demo.errors import DemoError


class Setting(NamedTuple):
    """A generator of the format (section 8.1): its number, default and range, in the units of the format."""

    number: int
    default: int
    lowest: int
    highest: int


ADDRESS = (0, -32768, 32767)
PITCH = (0, -12000, 12000)  # cents
SHORT, LONG = (-12000, -12000, 5000), (-12000, -12000, 8000)  # timecents
BY_KEY = (0, -1200, 1200)  # timecents a key
RATE = (0, -16000, 4500)  # cents above `tones.FIRST_KEY`
SETTINGS: dict[str, Setting] = {
    "start": Setting(0, *ADDRESS),
    "end": Setting(1, *ADDRESS),
    "loop_start": Setting(2, *ADDRESS),
    "loop_end": Setting(3, *ADDRESS),
    "start_coarse": Setting(4, *ADDRESS),
    "end_coarse": Setting(12, *ADDRESS),
    "loop_start_coarse": Setting(45, *ADDRESS),
    "loop_end_coarse": Setting(50, *ADDRESS),
    "lfo_to_pitch": Setting(5, *PITCH),
    "vibrato_to_pitch": Setting(6, *PITCH),
    "envelope_to_pitch": Setting(7, *PITCH),
    "cutoff": Setting(8, 13500, 1500, 13500),
    "resonance": Setting(9, 0, 0, 960),
    "lfo_to_cutoff": Setting(10, *PITCH),
    "envelope_to_cutoff": Setting(11, *PITCH),
    "lfo_to_volume": Setting(13, 0, -960, 960),
    "pan": Setting(17, 0, -500, 500),
    "lfo_delay": Setting(21, *SHORT),
    "lfo_rate": Setting(22, *RATE),
    "vibrato_delay": Setting(23, *SHORT),
    "vibrato_rate": Setting(24, *RATE),
    "modulation_delay": Setting(25, *SHORT),
    "modulation_attack": Setting(26, *LONG),
    "modulation_hold": Setting(27, *SHORT),
    "modulation_decay": Setting(28, *LONG),
    "modulation_sustain": Setting(29, 0, 0, 1000),
    "modulation_key_to_hold": Setting(31, *BY_KEY),
    "modulation_key_to_decay": Setting(32, *BY_KEY),
    "delay": Setting(33, *SHORT),
    "attack": Setting(34, *LONG),
    "hold": Setting(35, *SHORT),
    "decay": Setting(36, *LONG),
    "sustain": Setting(37, 0, 0, 1440),
    "release": Setting(38, *LONG),
    "key_to_hold": Setting(39, *BY_KEY),
    "key_to_decay": Setting(40, *BY_KEY),
    "fixed_key": Setting(46, -1, -1, 127),
    "attenuation": Setting(48, 0, 0, 1440),
    "coarse_tune": Setting(51, 0, -120, 120),
    "fine_tune": Setting(52, 0, -198, 198),  # the sum of two levels of 99 at most
    "loops": Setting(54, 0, 0, 3),
    "scale_tuning": Setting(56, 100, 0, 1200),
    "root_key": Setting(58, -1, -1, 127),
}
OF_THE_SAMPLE = {0, 1, 2, 3, 4, 12, 45, 46, 50, 54, 58}  # numbers that are not valid in a preset's zone
INSTRUMENT, KEYS, VELOCITIES, SAMPLE = 41, 43, 44, 53  # generators that say what a zone is, and for which notes
COARSE = 32768  # samples in one step of a coarse address
IN_ROM = 0x8000  # bit of a sample's type: the sample is not in the file
COMPRESSED = 0x10  # the same in SoundFont 3 files: it is, as Ogg Vorbis
RATES = (400, 200000)  # samples a second; a sample of another rate is not played
DRUM_BANK = 128

_BAG = [("generator", "<u2"), ("modulator", "<u2")]
_GENERATOR = [("number", "<u2"), ("amount", "<i2")]
_TABLES = {  # section 7; the last record of each only marks its end
    b"phdr": [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("rest", "S12")],
    b"pbag": _BAG,
    b"pgen": _GENERATOR,
    b"inst": [("name", "S20"), ("bag", "<u2")],
    b"ibag": _BAG,
    b"igen": _GENERATOR,
    b"shdr": [
        ("name", "S20"),
        *((name, "<u4") for name in ("start", "end", "loop_start", "loop_end", "rate")),
        ("key", "u1"),
        ("correction", "i1"),
        ("link", "<u2"),
        ("type", "<u2"),
    ],
}


@dataclass(frozen=True, eq=False)
class Zone:
    """A sample and how it is played.

    Attributes:
        keys, velocities: the notes that play it, both bounds included.
        samples: int16 [samples], from where it starts to where it ends.
        rate: samples a second at which it sounds as recorded.
        root: the key that plays it as recorded, tuning aside.
        tuning: semitones by which it is tuned up.
        loop: first sample of the loop and the one behind its last, or None.
        settings: by the names in `SETTINGS`, in the units of the format.
    """

    keys: tuple[int, int]
    velocities: tuple[int, int]
    samples: np.ndarray
    rate: int
    root: int
    tuning: float
    loop: tuple[int, int] | None
    settings: Mapping[str, int]

    def sounding_key(self, key: int) -> int:
        """The key as which a key is played: itself unless the zone has a fixed one."""
        return key if self.settings["fixed_key"] < 0 else self.settings["fixed_key"]

    def transposition(self, key: int) -> float:
        """Semitones from the sample as recorded to what a key sounds."""
        return (self.sounding_key(key) - self.root) * self.settings["scale_tuning"] / 100 + self.tuning


class SoundFont:
    """The presets of a SoundFont 2 file by (bank, program), read when they are first asked for."""

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            DemoError: it is not a whole SoundFont 2 file, or its samples are compressed.
        """
        try:
            chunks = dict(_chunks(path.read_bytes()))
            missing = [name.decode() for name in (b"smpl", *_TABLES) if name not in chunks]
            if missing:
                raise ValueError(f"without its chunk {missing[0]}")
            self.samples = np.frombuffer(chunks[b"smpl"], "<i2")
            self.tables = {name: np.frombuffer(chunks[name], np.dtype(layout)) for name, layout in _TABLES.items()}
            _check(self.tables)
        except ValueError as error:
            raise DemoError(f"soundfont {path}: cannot be read ({error}); give a General MIDI .sf2 file") from error
        self.presets: dict[tuple[int, int], int] = {}
        for number, row in enumerate(self.tables[b"phdr"][:-1]):
            self.presets.setdefault((int(row["bank"]), int(row["program"])), number)
        self._zones: dict[int, tuple[Zone, ...]] = {}

    def zones(self, program: int, drum: bool, key: int, velocity: float) -> list[Zone]:
        """What a note plays. A program that the file lacks is played by the first of its bank; no zone is silence."""
        bank = DRUM_BANK if drum else 0
        number = self.presets.get((bank, program))
        if number is None:
            others = [place for place in self.presets if place[0] == bank]
            if not others:
                return []
            number = self.presets[min(others)]
        if number not in self._zones:
            self._zones[number] = tuple(self._resolve(number))
        strength = min(127, max(1, round(velocity)))
        return [
            zone
            for zone in self._zones[number]
            if zone.keys[0] <= key <= zone.keys[1] and zone.velocities[0] <= strength <= zone.velocities[1]
        ]

    def _resolve(self, preset: int) -> Iterator[Zone]:
        """All zones of a preset that can be played."""
        for outer in self._bags(b"phdr", b"pbag", b"pgen", preset, INSTRUMENT):
            for inner in self._bags(b"inst", b"ibag", b"igen", outer[INSTRUMENT] & 0xFFFF, SAMPLE):
                keys, velocities = (_overlap(outer.get(kind), inner.get(kind)) for kind in (KEYS, VELOCITIES))
                settings = {}
                for name, (number, default, lowest, highest) in SETTINGS.items():
                    amount = inner.get(number, default) + (0 if number in OF_THE_SAMPLE else outer.get(number, 0))
                    settings[name] = min(highest, max(lowest, amount))
                header = self.tables[b"shdr"][inner[SAMPLE] & 0xFFFF]
                zone = self._zone(keys, velocities, header, settings)
                if len(zone.samples) and RATES[0] <= zone.rate <= RATES[1] and not header["type"] & IN_ROM:
                    yield zone

    def _bags(self, owner: bytes, bag: bytes, generator: bytes, number: int, target: int) -> Iterator[dict[int, int]]:
        """The zones of one preset or instrument that have a target, the global zone's settings taken in."""
        first, last = (int(self.tables[owner]["bag"][place]) for place in (number, number + 1))
        shared: dict[int, int] = {}
        for place in range(first, last):
            begin, end = (int(self.tables[bag]["generator"][at]) for at in (place, place + 1))
            rows = {int(row["number"]): int(row["amount"]) for row in self.tables[generator][begin:end]}
            if target in rows:
                yield {**shared, **rows}
            elif place == first:
                shared = rows

    def _zone(
        self, keys: tuple[int, int], velocities: tuple[int, int], header: np.void, settings: dict[str, int]
    ) -> Zone:
        def address(name: str) -> int:
            return max(0, int(header[name]) + settings[name] + COARSE * settings[f"{name}_coarse"])

        start = address("start")
        samples = self.samples[start : max(start, address("end"))]
        loop = (address("loop_start") - start, min(address("loop_end") - start, len(samples)))
        looped = settings["loops"] in (1, 3) and 0 <= loop[0] < loop[1]
        root = settings["root_key"] if settings["root_key"] >= 0 else int(header["key"])
        root = 60 if root > 127 else root  # 255: a sample without a pitch
        tuning = settings["coarse_tune"] + (settings["fine_tune"] + int(header["correction"])) / 100
        return Zone(keys, velocities, samples, int(header["rate"]), root, tuning, loop if looped else None, settings)


def _overlap(outer: int | None, inner: int | None) -> tuple[int, int]:
    """Two ranges (low byte to high byte of an amount; None is everything) -> what both have."""
    bounds = [(amount & 0xFF, amount >> 8 & 0xFF) for amount in (outer, inner) if amount is not None]
    return max((low for low, _ in bounds), default=0), min((high for _, high in bounds), default=127)


def _check(tables: Mapping[bytes, np.ndarray]) -> None:
    """Every record that another names must be there.

    Raises:
        ValueError: one is not, no preset is, or the samples are compressed.
    """
    for name, table in tables.items():
        if not len(table):
            raise ValueError(f"chunk {name.decode()} is empty")
    if len(tables[b"phdr"]) < 2:
        raise ValueError("no presets")
    if (tables[b"shdr"]["type"] & COMPRESSED).any():
        raise ValueError("its samples are compressed")
    for owner, column, owned in (
        (b"phdr", "bag", b"pbag"),
        (b"inst", "bag", b"ibag"),
        (b"pbag", "generator", b"pgen"),
        (b"ibag", "generator", b"igen"),
    ):
        places = tables[owner][column].astype(int)
        if (np.diff(places) < 0).any() or places[-1] >= len(tables[owned]):
            raise ValueError(f"chunk {owner.decode()} names what {owned.decode()} does not have")
    for owner, target, owned in ((b"pgen", INSTRUMENT, b"inst"), (b"igen", SAMPLE, b"shdr")):
        rows = tables[owner][tables[owner]["number"] == target]
        if (rows["amount"].astype("<u2") >= len(tables[owned]) - 1).any():
            raise ValueError(f"chunk {owner.decode()} names what {owned.decode()} does not have")


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a RIFF file, those within lists too: (name, what it holds)."""
    view = memoryview(content)
    places = [(12, len(view))]
    while places:
        at, end = places.pop()
        while at + 8 <= end:
            name, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8], "little")
            if name == b"LIST":
                places.append((at + 12, min(at + 8 + size, end)))
            else:
                yield name, view[at + 8 : at + 8 + size]
            at += 8 + size + size % 2


@lru_cache(maxsize=4)
def _opened(path: Path, changed: int) -> SoundFont:
    return SoundFont(path)


def open_soundfont(path: Path) -> SoundFont:
    """A soundfont, read again only if its file has changed.

    Raises:
        DemoError: it cannot be read.
    """
    return _opened(path.resolve(), path.stat().st_mtime_ns)
