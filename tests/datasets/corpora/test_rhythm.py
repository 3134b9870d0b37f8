"""Corpora of beats: both layouts, splits and folds, annotations that are faulty, counts and statistics as published."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import symusic

from datasets.beats import Beats
from datasets.corpora import CORPORA, candombe, find, groove_midi
from datasets.corpora.rhythm import FOLDS, shipped_lists
from datasets.demo.made_up_beats import JAZZ_WITHOUT_DOWNBEATS, make_up
from datasets.rhythm_audit import beat_row, beyond, is_irregular, metres
from datasets.tables import CorpusError

BEATS = [name for name, one in CORPORA.items() if one.least_seconds is not None and name != "gtzan_tempo"]
SPLIT = [name for name in BEATS if name != "gtzan_beats"]
LISTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "annotations"
PUBLISHED = {  # tracks, tracks by beats in most bars, tracks with more than 5 % other bars, tempo not in 55 to 215 BPM
    "asap": (473, {4: 224, 2: 144, 3: 99, 8: 6}, 32, 96),
    "ballroom": (685, {4: 512, 3: 173}, 2, 0),
    "candombe": (35, {4: 35}, 0, 0),
    "groove_midi": (336, {4: 324, 3: 5, 6: 5, 5: 2}, 0, 8),
    "gtzan_beats": (999, {4: 930, 3: 54, 2: 7, 5: 2}, 14, 50),
    "guitarset": (180, {4: 180}, 0, 0),
    "hainsworth": (222, {4: 204, 3: 11, 2: 6, 6: 1}, 4, 7),
    "hjdb": (235, {4: 235}, 0, 0),
    "simac": (595, {}, 0, 33),
    "smc": (217, {}, 0, 45),
}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A folder with made-up annotations of every corpus in the layout of the common repository."""
    folder = tmp_path_factory.mktemp("release")
    for name in BEATS:
        make_up(find(name), folder, {})
    return folder / "beat_this_annotations"


def by_id(items):
    return {item.id: item for item in items}


@pytest.mark.parametrize("name", BEATS)
def test_every_corpus_is_read_from_the_common_repository(name, release):
    definition = find(name)
    assert definition.is_annotated(release)
    items = [item for item in definition.items(release) if item.rows]
    assert len(items) == sum(definition.counts[definition.protocol()].values())
    assert all(item.beats is not None and not item.refused for item in items)
    for item in items[:: max(len(items) // 50, 1)]:
        assert definition.name_of(PurePosixPath(definition.place(item))) == item.name
        assert "/" not in item.id
    assert len({item.name for item in items}) == len({item.id for item in items}) == len(items)
    corpus = definition.corpus("test", release)
    assert corpus.version == "beat_this_annotations"
    assert not corpus.split("train")
    first = corpus.tracks[0]
    assert isinstance(first.annotations["beats"], Beats)
    assert first.annotations["tempo"] == pytest.approx(120)
    assert first.annotations["beats"].has_downbeats == (name not in ("smc", "simac"))


@pytest.mark.parametrize("name", SPLIT)
def test_each_track_is_the_test_of_one_fold_and_the_validation_of_another(name, release):
    items = find(name).items(release)
    for item in items:
        splits = [item.rows[f"fold{fold}"].split for fold in range(FOLDS)]
        assert Counter(splits) == {"train": 6, "valid": 1, "test": 1}
        assert splits.index("test") == int(item.rows["single"].cells["fold"])
        assert splits[splits.index("test") - 1] == "valid"
    sizes = Counter(item.rows["single"].cells["fold"] for item in items)
    assert max(sizes.values()) <= 1.5 * min(sizes.values())


def test_excerpts_of_gtzan_without_downbeats_are_known(release):
    items = by_id(find("gtzan_beats").items(release))
    assert items["reggae.00086"].refused == "not annotated"
    without = {one for one, item in items.items() if item.beats is not None and not item.beats.has_downbeats}
    assert without == {f"jazz.{number}" for number in JAZZ_WITHOUT_DOWNBEATS}


def test_a_song_without_beats_is_annotated_all_the_same(release):
    (song,) = [item for item in find("beatles").items(release) if not len(item.beats)]
    assert "Revolution_9" in song.id
    assert not song.refused
    assert "tempo" not in song.cells


def test_lists_of_the_repository_go_before_those_that_come_with_the_project(tmp_path):
    folder = make_up(find("candombe"), tmp_path, {})
    track = next(iter(shipped_lists("candombe")))
    for file, value in (("single.split", "val"), ("8-folds.split", "5")):
        path = folder / "candombe" / file
        lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{track}\t")]
        path.write_text("\n".join([f"{track}\t{value}", *lines]) + "\n")
    changed = by_id(find("candombe").read(folder))[track]
    assert changed.rows["single"].split == "valid"
    assert changed.rows["fold5"].split == "test"
    (folder / "candombe" / "8-folds.split").write_text(f"{track}\t8\n")
    with pytest.raises(CorpusError, match="fold '8'; expected train or val, and 0 to 7"):
        find("candombe").read.__wrapped__(folder)
    (folder / "candombe" / "single.split").write_text("../../etc\ttrain\n")
    with pytest.raises(CorpusError, match="a track is a path"):
        find("candombe").read.__wrapped__(folder)


def test_annotations_that_lack_or_cannot_be_read_refuse_their_track_alone(tmp_path):
    folder = make_up(find("hainsworth"), tmp_path, {})
    place = folder / "hainsworth" / "annotations" / "beats"
    (place / "hainsworth_001.beats").unlink()
    (place / "hainsworth_002.beats").write_text("soon\t1\n")
    items = by_id(find("hainsworth").items(folder))
    assert items["001"].refused == "not annotated"
    assert "'soon' is no time" in items["002"].refused
    assert sum(bool(item.refused) for item in items.values()) == 2


def test_a_folder_without_annotations_is_told(tmp_path):
    with pytest.raises(CorpusError, match="none of the 35 annotations of candombe"):
        find("candombe").items(tmp_path)
    with pytest.raises(CorpusError, match="none is given"):
        find("candombe").items()
    assert not find("candombe").is_annotated(tmp_path / "absent")


@pytest.mark.parametrize(
    ("corpus", "file", "content", "id"),
    [
        ("ballroom", "BallroomAnnotations/Media-103402.beats", "0.5 4\n1.0 1\n", "Media-103402"),
        ("hainsworth", "annotations/beats/hains001.beats", "0.5\t4\n1.0\t1\n", "001"),
        ("smc", "SMC_MIREX_Annotations/SMC_001_2_1_1_a.txt", "0.5\n1.0\n", "001"),
        ("hjdb", "hjdb/A_Musical_Box.beats", "0.5\t4\n1.0\t1\n", "A_Musical_Box"),
        (
            "beatles",
            "beat/The_Beatles/10CD2_-_The_Beatles/01_-_Birthday.txt",
            "0.5   4\n1.0   New Point\n1.5 1\n",
            "10_CD2_The_Beatles_01_Birthday",
        ),
        ("rwc", "AIST.RWC-MDB-P-2001.BEAT/RM-P017.BEAT.TXT", "50\t100\t384\n100\t150\t48\n", "popular_CD2_01"),
        ("harmonix", "dataset/beats_and_downbeats/0001_12step.txt", "0.5\t1\t1\n1.0\t2\t1\n", "0001_12step"),
        (
            "asap",
            "asap-dataset/Bach/Fugue/bwv_846/Shi05M_annotations.txt",
            "0.5\t0.5\tb,,0\n1.0\t1.0\tdb,4/4\n1.5\t1.5\tb\n2.0\t2.0\tbR\n",
            "Bach_Fugue_bwv_846_Shi05M",
        ),
        ("candombe", "candombe_annotations/csic.1995_ansina1_01.csv", "0.5,1.4\n1.0,2.1\n", "csic.1995_ansina1_01"),
        (
            "guitarset",
            "annotation/00_BN1-129-Eb_comp.jams",
            json.dumps(
                {
                    "annotations": [
                        {
                            "namespace": "beat_position",
                            "data": [{"time": 0.5, "value": {"position": 1}}, {"time": 1.0, "value": {"position": 2}}],
                        }
                    ]
                }
            ),
            "00_BN1-129-Eb_comp_mix",
        ),
        ("simac", "simac/A_vida_me_fez_assim_01-Acalanto.beats", "0.5\n1.0\n", "A_vida_me_fez_assim_01-Acalanto"),
        ("gtzan_beats", "rhythm/jams/blues.00000.wav.jams", '{"annotations": [{"namespace": "beat", "data": '
         '[{"time": 0.5, "value": 1}, {"time": 1.0, "value": 2}]}]}', "blues.00000"),
    ],
)  # fmt: skip
def test_what_a_corpus_itself_publishes_is_read(corpus, file, content, id, tmp_path):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    definition = find(corpus)
    assert definition.is_annotated(tmp_path)
    beats = by_id(definition.read(tmp_path))[id].beats
    assert beats.times[:2].tolist() == [0.5, 1.0]
    assert beats.has_downbeats == (corpus not in ("smc", "simac"))


def test_the_click_of_groove_midi_follows_tempo_and_metre(tmp_path):
    for name, bpm in (("drummer1/session1/1_funk_80_beat_4-4", 80), ("drummer6/session1/1_rock_70_beat_6-8", 70)):
        score = symusic.Score(480)
        score.tempos.append(symusic.Tempo(0, bpm))
        track = symusic.Track(is_drum=True)
        track.notes.append(symusic.Note(0, 480 * 7 + 200, 36, 90))
        score.tracks.append(track)
        path = tmp_path / f"{name}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        score.dump_midi(path)
    items = by_id(find("groove_midi").read(tmp_path))
    quarters = items["drummer1_session1_1_funk_80_beat_4-4"].beats
    np.testing.assert_allclose(quarters.times, np.arange(8) * 0.75)
    assert quarters.positions.tolist() == [1, 2, 3, 4, 1, 2, 3, 4]
    dotted = items["drummer6_session1_1_rock_70_beat_6-8"].beats
    np.testing.assert_allclose(dotted.times, np.arange(5) * 60 / 70 * 1.5)
    assert dotted.positions.tolist() == [1, 2, 1, 2, 1]


@pytest.mark.parametrize(
    "name", ["1_funk_0_beat_4-4", "1_funk_80_beat_4-0", "1_funk_80_beat_0-4", f"1_{9**40}_beat_4-4"]
)
def test_a_performance_without_a_possible_click_is_refused(name, tmp_path):
    score = symusic.Score(480)
    score.tracks.append(symusic.Track(is_drum=True))
    score.tracks[0].notes.append(symusic.Note(0, 480, 36, 90))
    score.dump_midi(tmp_path / f"{name}.mid")
    with pytest.raises(CorpusError, match=r"no performance of this corpus|expected a name"):
        groove_midi.read(tmp_path / f"{name}.mid")


@pytest.mark.parametrize("content", [b"0.5," + b"1" * 200_000, b"0.5,1.1\n\0", b"\xff\xfe", b"nan,1.1\n"])
def test_what_candombe_does_not_publish_is_refused(content, tmp_path):
    (tmp_path / "one.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=r"one\.csv"):
        candombe.read(tmp_path / "one.csv")


def test_classical_pieces_of_rwc_are_numbered_through_the_discs(tmp_path):
    names = [f"RM-C{number:03d}" for number in range(1, 51) if number != 25] + [
        f"RM-C025_{one}" for one in "ABCDEFGHIJKL"
    ]
    for name in names:
        (tmp_path / f"{name}.BEAT.TXT").write_text("50\t100\t384\n100\t150\t48\n")
    items = by_id(find("rwc").read(tmp_path))
    assert items["classical_CD1_01"].beats is not None
    assert sum(item.beats is not None for item in items.values()) == 61
    (tmp_path / "RM-C001.BEAT.TXT").unlink()
    (tmp_path / "RM-P001.BEAT.TXT").write_text("50\t100\t384\n100\t150\t48\n")
    some = by_id(find("rwc").read.__wrapped__(tmp_path))
    assert [one for one, item in some.items() if item.beats is not None] == ["popular_CD1_01"]


def test_repetitions_of_ballroom_are_refused_with_what_they_repeat(tmp_path):
    for name in ("Media-103402", "Media-103415"):
        (tmp_path / f"{name}.beats").write_text("0.5 1\n1.0 2\n")
    items = by_id(find("ballroom").read(tmp_path))
    assert items["Media-103415"].refused == "repetition of Media-103402"
    assert not items["Media-103415"].rows
    assert len(items) == 686


@pytest.mark.parametrize(
    ("corpus", "path", "name"),
    [
        ("rwc", "audio/rwc-j-m02/3.wav", "jazz_CD2_03"),
        ("rwc", "RM-R015.wav", "royalty-free_CD1_15"),
        ("rwc", "RM-P999.wav", ""),
        ("beatles", "01_-_Please_Please_Me/03_-_Anna_(Go_To_Him).flac", "01-0-03"),
        ("guitarset", "audio_hex-pickup_original/00_BN1-129-Eb_comp_hex.wav", ""),
        ("guitarset", "audio_mono-pickup_mix/00_BN1-129-Eb_comp_mix.wav", "00_BN1-129-Eb_comp"),
        ("groove_midi", "groove/drummer1/session1/1_funk_80_beat_4-4.wav", "drummer1_session1_1_funk_80_beat_4-4"),
        ("asap", "Bach/Fugue/bwv_846/Shi05M.wav", "Bach_Fugue_bwv_846_Shi05M"),
        ("asap", "Schumann/Toccata_repeat/WangY07M.wav", "Schumann_Toccata_WangY07M"),
        ("smc", "SMC_MIREX/SMC_MIREX_Audio/SMC_289.wav", "289"),
    ],
)
def test_audio_is_known_in_the_layouts_of_the_field(corpus, path, name):
    assert find(corpus).name_of(PurePosixPath(path)) == name


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.skipif(not LISTS.is_dir(), reason="the published annotations are not on this machine")
def test_counts_and_statistics_are_the_published_ones(name, tmp_path):
    definition = find(name)
    corpus = "gtzan" if name == "gtzan_beats" else name
    lines: defaultdict[str, list[str]] = defaultdict(list)
    with gzip.open(LISTS / f"{corpus}_beats.csv.gz", "rt", newline="") as handle:
        for row in csv.DictReader(handle):
            lines[row["track"]].append("\t".join(filter(None, (row["time"], row["position_in_bar"]))))
    place = tmp_path / corpus / "annotations" / "beats"
    place.mkdir(parents=True)
    for track, beats in lines.items():
        (place / f"{track}.beats").write_text("\n".join(beats) + "\n")
    items = [item for item in definition.items(tmp_path) if item.rows]
    rows = [beat_row(item.id, "", item.beats) for item in items]
    tracks, by_metre, irregular, outside = PUBLISHED[name]
    assert len(items) == tracks
    assert metres(rows) == by_metre
    assert sum(map(is_irregular, rows)) == irregular
    fastest = 215.1 if name == "groove_midi" else 215  # a click of 215 BPM, its times rounded
    assert len(beyond(rows, 55, fastest)) == outside
    with (LISTS / "beat_sets_summary.csv").open(newline="") as handle:
        summary = {row["track"]: row for row in csv.DictReader(handle) if row["set"] == corpus}
    assert len(summary) == tracks
    names = {definition.name_of(PurePosixPath(f"{track}.beats")): row for track, row in summary.items()}
    for item in items:
        row = names[item.name]
        assert len(item.beats) == int(row["n_beats"])
        assert item.beats.tempo == pytest.approx(float(row["tempo_from_median_interval"]), rel=0.005)
        assert item.cells.get("fold", "") == row["fold"]
