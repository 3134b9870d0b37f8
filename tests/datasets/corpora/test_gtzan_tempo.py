"""GTZAN tempo: who is usable, who is not and why, and three ways to split the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datasets.corpora import find
from datasets.corpora.base import resplit, sizes
from datasets.corpora.gtzan_tempo import by_genre
from datasets.demo.made_up_beats import OUT_OF_RANGE, make_up
from datasets.tables import CorpusError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_up(find("gtzan_tempo"), tmp_path_factory.mktemp("tempo"), {})


def test_of_999_annotated_989_are_in_range_and_the_others_are_named(folder):
    items = find("gtzan_tempo").items(folder)
    assert len(items) == 1000
    assert sum("tempo" in item.cells for item in items) == 999
    refused = {item.id: item.refused for item in items if item.refused}
    assert refused.pop("reggae.00086") == "no tempo is annotated"
    assert set(refused) == set(OUT_OF_RANGE)
    assert refused["jazz.00031"] == "321.64 BPM, outside of 40 to 250"


def test_without_the_damaged_one_988_are_split_as_published(folder):
    definition = find("gtzan_tempo")
    items = [item for item in definition.items(folder) if item.rows]
    assert len(items) == 989
    usable = [item for item in resplit(definition, items, {"jazz.00054"}) if item.id != "jazz.00054"]
    for protocol, counts in definition.usable.items():
        assert sizes(usable, protocol) == dict(counts)
    assert sizes(usable, "genre") == {"train": 788, "valid": 200}
    assert sizes(usable, "filtered") == {"train": 438, "valid": 196, "test": 285}
    assert sizes(usable, "all") == {"test": 988}


def test_a_split_by_genre_does_not_depend_on_order_process_or_seed_of_hashes(folder):
    items = [item for item in find("gtzan_tempo").items(folder) if item.rows]
    split = by_genre(items)
    assert by_genre(items[::-1]) == split
    code = (
        "import sys; from pathlib import Path; from datasets.corpora import find; "
        f"items = find('gtzan_tempo').items(Path({str(folder)!r})); "
        "print(*sorted(i.id for i in items if i.rows and i.rows['genre'].split == 'valid'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == sorted(one for one, part in split.items() if part == "valid")


def test_without_one_excerpt_the_others_of_other_genres_stay_where_they_are(folder):
    items = [item for item in find("gtzan_tempo").items(folder) if item.rows]
    before, after = by_genre(items), by_genre([item for item in items if item.id != "jazz.00054"])
    moved = {one for one in after if before[one] != after[one]}
    assert len(moved) <= 1
    assert all(one.startswith("jazz.") for one in moved)


def test_the_annotations_have_a_name_that_figures_carry(folder):
    corpus = find("gtzan_tempo").corpus("all", folder)
    assert corpus.version == "gtzan_tempo_beat"
    assert len(corpus) == 989
    assert corpus.tracks[0].annotations["beats"].has_downbeats


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not hold one tempo"),
        ("120\n60\n", "does not hold one tempo"),
        ("fast", "does not hold one tempo"),
        ("nan", "is no tempo"),
        ("-100", "is no tempo"),
        ("inf", "is no tempo"),
        ("39.9", "outside of 40 to 250"),
    ],
)
def test_whatever_is_not_one_tempo_is_refused(text, reason, tmp_path):
    (tmp_path / "gtzan_blues_00000.bpm").write_text(text)
    (item,) = [item for item in find("gtzan_tempo").read(tmp_path) if item.id == "blues.00000"]
    assert reason in item.refused
    assert not item.rows


def test_of_two_files_of_one_excerpt_the_first_by_name_counts(tmp_path):
    for name, bpm in (("b", "90"), ("a", "80"), ("c", "100")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gtzan_blues_00000.bpm").write_text(bpm)
    (item,) = [item for item in find("gtzan_tempo").read(tmp_path) if item.id == "blues.00000"]
    assert item.cells["tempo"] == "80.0000"


def test_other_annotations_are_told(tmp_path):
    (tmp_path / "gtzan_blues_00000.bpm").write_text("120")
    with pytest.raises(CorpusError, match="published are 789 train / 200 valid"):
        find("gtzan_tempo").items(tmp_path)
    with pytest.raises(CorpusError, match="none is given"):
        find("gtzan_tempo").items()
