"""Spellings of keys: each read whole or not at all, and what only a whole column tells."""

from __future__ import annotations

import pytest

from datasets.keys import parse_key, settled

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
READ = {
    "C major": "C|Cmaj|C:maj|CM|C MAJOR|c major|C-Dur|c dur|do mayor|DO MAGGIORE|ut majeur|8B|08B|1d|1D|B# major",
    "C minor": "Cm|C:min|c minor|C minor|c-moll|do menor|5A|10m|Cm (5A)|5A - Cm",
    "Db major": "C#|C♯|Db|D♭ maj|C-Sharp Major|D flat major|Cis-Dur|Des-Dur|C#/Db|C♯/D♭ major|re bemol mayor|3B|8d",
    "Db minor": "C#m|c#m|C♯ minor|cis-moll|Cis moll|Cism|do# mineur|Do sostenido menor|12A|5m|C#/Db minor|Ｃ＃ minor",
    "D minor": "Dm|d-moll|ré mineur|re minore|7A|12m",
    "Eb major": "Eb:maj|Es-Dur|es dur|Es|Es major|Mib majeur|mi bémol majeur|D# major|5B|10d",
    "E minor": "Em|E min|mi menor|9A|2m|Fb m",
    "F# minor": "F#min|Gb minor|fis-moll|Fis-Moll|F sharp minor|fa dièse mineur|fa diesis minore|11A|4m",
    "G minor": "Gm|g-moll|sol menor|6A|G_minor|G\u00a0minor",
    "Ab major": "Ab|As-Dur|As|As major|A-flat major|la bemol mayor|G♯ major|4B|9d",
    "Ab minor": "A-Flat Minor|A flat minor|A FLAT minor|G#m|gis-moll|as-moll|A♭m|sol# mineur|01A|6m|G\u2011sharp minor",
    "A minor": "Am|am|A:min|a-moll|la menor|8A|8a|1m|Am (8A)|8A - Am|Am / 8A|Am 8A|A − minor",
    "A major": "A|AM|A-dur|la mayor|11B|4d|Bbb",
    "Bb major": "Bb|B♭|B flat|B-flat major|A# maj|B-Dur|b dur|Bes-Dur|Bb-Dur|si bemolle maggiore|Sib majeur|6B|11d",
    "Bb minor": "Bbm|bbm|b-moll|B-Moll|B moll|ais-moll|si♭ mineur|3A|8m",
    "B major": "B|B major|H|H-Dur|H major|h dur|Cb|Ces-Dur|si mayor|1B|6d",
    "B minor": "Bm|bm|b minor|B:min|h-moll|Hm|hm|si mineur|10A|3m",
}  # fmt: skip
REFUSED = (
    "c|f#|bb|cis|as|fa|Do|Lam|C dorian|C mixolydian|A harmonic minor|Am7|Cmaj7|Csus4|Asus|Bdim|C+|C/G|C/Cm|Cm/C|Am/C|"
    "C major / A minor|A B|A minor (8B)|8A/9A|8A (Bm)|13A|0A|8C|8|5|-1|1M|1 B minor|off|o|N|none|None|nan|atonal|-|?||"
    "Bis|BB MINOR|Key|Amin.|in C major|C major!|do|sol#|H mixolydian|C#b|Cx|C moll-dur"
)


def named(number):
    return None if number is None else f"{TONICS[number % 12]} {'minor' if number > 11 else 'major'}"


@pytest.mark.parametrize("key", READ)
def test_every_spelling_of_a_key_is_read(key):
    expected = named(parse_key(key))
    assert key.replace("F#", "Gb") == expected
    spelled = READ[key].split("|")
    assert {text: named(parse_key(text)) for text in spelled} == dict.fromkeys(spelled, expected)


@pytest.mark.parametrize("text", REFUSED.split("|"))
def test_what_is_no_key_is_not_read_by_half(text):
    assert parse_key(text) is None


def test_the_wheels_go_by_fifths_and_hold_all_keys():
    for wheel, rings in (("Camelot", "BA"), ("Open Key", "dm")):
        numbers = {ring: [parse_key(f"{hour}{ring}") for hour in range(1, 13)] for ring in rings}
        major, minor = numbers.values()
        assert sorted(major + minor) == list(range(24)), wheel
        for hour in range(12):
            assert (major[hour] - major[hour - 1]) % 12 == 7
            assert (minor[hour] - major[hour]) % 12 == 9  # of equal signature


@pytest.mark.parametrize(
    ("column", "instead", "said"),
    [
        (["B", "Bm", "Bb", "Am"], {}, ""),
        (["B", "Hm", "Am"], {"B": "Bb major"}, "such as 'Hm': B is read as B flat and H as B (1 of 3, "),
        (["B-Dur", "C-Dur"], {"B-Dur": "Bb major"}, "such as 'B-Dur': B is read as B flat and H as B (1 of 2, "),
        (["bm", "B minor", "A-Dur"], {"bm": "Bb minor", "B minor": "Bb minor"}, "(2 of 3, for instance 'bm')"),
        (
            ["B", "B", "Bb", "a-moll"],
            {"B": "B (B or B flat?)"},
            "beside 'a-moll' and 'Bb' B can be B or B flat and is not read (2 of 4",
        ),
        (["B", "Bes", "Cis"], {"B": "B (B or B flat?)"}, "beside 'Bes' B can be B or B flat"),
        (["Bm", "Cis"], {"Bm": "Bm (B or B flat?)"}, "beside 'Cis' B can be B or B flat and is not read (1 of 2"),
        (["cis-moll", "H"], {}, ""),
        (["8A", "1m", "8B", "C"], {}, "2 of 4 are codes of Camelot (8A is A minor)"),
        ([], {}, ""),
    ],
)
def test_a_column_tells_whether_b_is_b_flat(column, instead, said):
    spelled, notes = settled(column)
    assert spelled == instead
    assert said in " ".join(notes)
    assert bool(said) == bool(notes)


def test_what_takes_the_place_of_an_ambiguous_b_is_not_read_and_the_remedy_is():
    column = ["B", "b-moll", "Bb"]
    spelled, notes = settled(column)
    assert [parse_key(spelled.get(one, one)) for one in column] == [None, None, 10]
    assert "write B flat as Bb, and B as H" in notes[0]
    assert settled(["H", "Bb", "cis-moll"]) == ({}, [])
