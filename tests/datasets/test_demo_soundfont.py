"""Zones of small soundfonts written here, and broken ones."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.demo import DemoError
from datasets.demo.soundfont import SoundFont
from datasets.demo.synth import Note, check_soundfont, play
from datasets.demo.tones import SAMPLE_RATE, tone

CYCLE = 100  # samples
SINE = (20000 * np.sin(2 * np.pi * np.arange(10 * CYCLE) / CYCLE)).astype("<i2")


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def generators(*zones: dict[int, int]) -> tuple[bytes, bytes]:
    """Bags and generators of zones, with the records that mark their ends."""
    bags, rows = b"", []
    for zone in (*zones, {}):
        bags += struct.pack("<HH", len(rows), 0)
        rows += zone.items()
    return bags, b"".join(struct.pack("<Hh", *row) for row in (*rows, (0, 0)))


def write(path, preset=({41: 0},), instrument=({54: 1, 53: 0},), key=69, correction=0, program=0):
    """A soundfont of one program with one sample: a sine of ten cycles, looped over the last five."""
    pbag, pgen = generators(*preset)
    ibag, igen = generators(*instrument)
    end = len(SINE)
    header = struct.pack("<20s5IBbHH", b"sine", 0, end, end // 2, end, SAMPLE_RATE, key, correction, 0, 1)
    tables = {
        b"phdr": struct.pack("<20sHHH12s", b"a", program, 0, 0, b"")
        + struct.pack("<20sHHH12s", b"EOP", 0, 0, len(preset), b""),
        b"pbag": pbag,
        b"pmod": bytes(10),
        b"pgen": pgen,
        b"inst": struct.pack("<20sH", b"i", 0) + struct.pack("<20sH", b"EOI", len(instrument)),
        b"ibag": ibag,
        b"imod": bytes(10),
        b"igen": igen,
        b"shdr": header + bytes(46),
    }
    data = chunk(b"LIST", b"sdta" + chunk(b"smpl", SINE.tobytes() + bytes(92)))
    data += chunk(b"LIST", b"pdta" + b"".join(chunk(*table) for table in tables.items()))
    path.write_bytes(chunk(b"RIFF", b"sfbk" + data))
    return path


def only(path, key=69):
    (zone,) = SoundFont(path).zones(0, False, key, 100)
    return zone


def test_a_sample_is_played_as_recorded_at_its_root_and_runs_through_its_loop(tmp_path):
    zone = only(write(tmp_path / "a.sf2"))
    assert (zone.root, zone.transposition(69), zone.loop) == (69, 0, (500, 1000))
    sound = tone(zone, 69, 3000)
    expected = np.sin(2 * np.pi * np.arange(3000) / CYCLE) * 20000 / 32768 * np.sqrt(0.5)
    np.testing.assert_allclose(sound[50:], expected[50:], atol=2e-3)


@pytest.mark.parametrize(
    ("inner", "outer", "semitones"),
    [
        ({}, {}, 0),
        ({58: 57}, {}, 12),
        ({51: 2, 52: -30}, {}, 1.7),
        ({51: 2}, {51: 1, 52: 25}, 3.25),
        ({58: 57}, {58: 40}, 12),
        ({58: 57, 56: 50}, {}, 6),
        ({46: 72}, {}, 3),
    ],
)
def test_tuning_of_both_levels_adds_up_and_the_root_belongs_to_the_sample(tmp_path, inner, outer, semitones):
    path = write(tmp_path / "a.sf2", ({**outer, 41: 0},), ({**inner, 53: 0},), correction=10)
    assert only(path).transposition(69) == pytest.approx(semitones + 0.1)


def test_global_zones_are_taken_in_and_key_ranges_meet(tmp_path):
    path = write(
        tmp_path / "a.sf2",
        preset=({51: 1}, {43: 40 | 70 << 8, 41: 0}),
        instrument=({51: 5, 48: 60}, {43: 60 | 90 << 8, 51: 2, 53: 0}),
    )
    zone = only(path)
    assert (zone.keys, zone.tuning, zone.settings["attenuation"]) == ((60, 70), 3, 60)
    assert SoundFont(path).zones(0, False, 71, 100) == SoundFont(path).zones(0, False, 59, 100) == []


def test_an_absent_program_is_played_by_the_first_of_its_bank_and_absent_drums_are_silent(tmp_path):
    font = SoundFont(write(tmp_path / "a.sf2", program=7))
    assert font.zones(3, False, 60, 100)
    assert font.zones(0, True, 60, 100) == []
    assert not play([Note(0, 0.1, 60, 100)], 0, True, tmp_path / "a.sf2", 0.0, 100).any()


@pytest.mark.parametrize(("preset", "instrument"), [(({41: 5},), ({53: 0},)), (({41: 0},), ({53: 3},))])
def test_a_file_that_names_what_it_lacks_is_refused(tmp_path, preset, instrument):
    with pytest.raises(DemoError, match=r"broken\.sf2.*does not have"):
        check_soundfont(write(tmp_path / "broken.sf2", preset, instrument))


@settings(max_examples=150, deadline=None)
@given(
    cut=st.integers(12, 3000),
    changes=st.lists(st.tuples(st.integers(2000, 3000), st.integers(0, 255)), max_size=6),
    key=st.integers(0, 127),
)
def test_a_damaged_file_is_played_or_named(tmp_path_factory, cut, changes, key):
    path = write(tmp_path_factory.mktemp("sf2") / "broken.sf2")
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(bytes(content[:cut] if cut < 2000 else content))
    try:
        check_soundfont(path)
    except DemoError:
        return
    assert np.isfinite(play([Note(0.0, 0.1, key, 100)], 0, False, path, 0.0, 4000)).all()
