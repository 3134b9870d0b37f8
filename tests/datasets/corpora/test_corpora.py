"""Published corpora as published: counts, protocols, labels, ids; and annotations that are other ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest

from datasets.corpora import CORPORA, find
from datasets.corpora.base import cut, within
from datasets.corpora.emomusic import SCALE
from datasets.corpora.gtzan import GENRES
from datasets.corpora.magnatagatune import TAGS
from datasets.demo.made_up_labels import make_up_jamendo, make_up_librispeech, make_up_msd
from datasets.tables import CorpusError


def sizes(corpus) -> tuple[int, int, int]:
    return tuple(len(corpus.split(name)) for name in ("train", "valid", "test"))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return make_up_jamendo(tmp_path_factory.mktemp("jamendo"))


def test_magnatagatune_has_both_protocols_of_the_field():
    kept, public = find("mtt").corpus("all"), find("mtt").corpus("public")
    assert find("mtt").corpus().name == "mtt/all"
    assert sizes(kept) == (18_706, 1_825, 5_329)
    assert sizes(public) == (15_244, 1_529, 4_332)
    untagged = [sum(not track.annotations["tags"] for track in kept.split(name)) for name in ("train", "valid", "test")]
    assert untagged == [3_459, 296, 997]
    assert all(track.annotations["tags"] for track in public)


def test_magnatagatune_tags_are_the_fifty_commonest_in_order():
    counts = Counter(tag for track in find("mtt").corpus() for tag in track.annotations["tags"])
    assert len(TAGS) == 50
    assert set(TAGS) == set(counts)
    assert counts["guitar"] == max(counts.values()) == 4_851
    assert counts["choral"] == min(counts.values()) == 490
    ordered = [counts[tag] for tag in TAGS]
    assert sum(np.diff(ordered) > 0) <= 2  # three damaged clips are not counted here
    valid = Counter(tag for track in find("mtt").corpus().split("valid") for tag in track.annotations["tags"])
    assert valid["choral"] == 3


def test_gtzan_is_split_without_its_faults():
    corpus = find("gtzan").corpus()
    assert sizes(corpus) == (443, 197, 290)
    assert corpus.vocabulary("genre") == GENRES
    by_id = {track.id: track for track in corpus}
    assert by_id["jazz.00054"].split == "train"
    assert "jazz.00054" in find("gtzan").known
    (blues,) = cut(find("gtzan").items(), ["blues.00000"])
    assert blues.jukemir == hashlib.sha256(b"blues.00000").hexdigest()


def test_giantsteps_is_two_corpora_with_the_keys_of_songs():
    test, rest = find("giantsteps_key").corpus(), find("giantsteps_mtg_key").corpus()
    assert sizes(test) == (0, 0, 604)
    assert sizes(rest) == (923, 236, 0)
    keys = Counter(track.annotations["key"].split()[1] for track in (*test, *rest))
    assert keys == {"major": 470, "minor": 1_293}
    tonics = {track.annotations["key"].split()[0] for track in (*test, *rest)}
    assert tonics == {"C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"}
    assert not {track.id for track in test} & {track.id for track in rest}
    assert sum(find("giantsteps_mtg_key").clips.values()) + find("giantsteps_key").clips["test"] == 7_035


def test_emomusic_is_standardised_by_what_is_not_test():
    corpus = find("emomusic").corpus()
    assert sizes(corpus) == (504, 115, 125)
    for name in ("arousal", "valence"):
        values = [track.annotations[name] for track in corpus if track.split != "test"]
        assert len(values) == 619
        assert np.mean(values) == pytest.approx(0, abs=1e-5)
        assert np.std(values) == pytest.approx(1, abs=1e-5)
    mean, deviation = SCALE["arousal"]
    first = corpus.tracks[0]
    assert first.id == "0002"
    assert first.annotations["arousal"] * deviation + mean == pytest.approx(3.1, abs=1e-3)


def test_jamendo_is_read_from_a_copy_of_its_repository(made_up):
    jamendo = find("jamendo")
    assert sizes(jamendo.corpus("moodtheme", made_up)) == (9_949, 3_802, 4_231)
    assert sizes(jamendo.corpus(None, made_up)) == (32_136, 10_888, 11_356)
    (track,) = [track for track in jamendo.corpus("genre", made_up) if track.id == "14/214.mp3"]
    assert track.annotations["artist"] == "artist_000021"
    assert all(tag.startswith("genre---") for tag in track.annotations["tags"])


def test_the_million_song_dataset_is_split_and_tagged_as_its_tables_say(tmp_path):
    tables = make_up_msd(tmp_path)
    corpus = find("msd").corpus(None, tables)
    assert sizes(corpus) == (60, 20, 20)
    first = find("msd").items(tables)[0]
    assert (first.id, first.name, find("msd").place(first)) == ("TRAAA0000000000001", "1000001", "0/0/0/1000001.mp3")
    assert corpus.tracks[0].annotations["tags"] == ("tag 01", "tag 05")
    (tables / "index_msd.tsv").unlink()
    find("msd").read.cache_clear()
    first = find("msd").items(tables)[0]
    assert (first.name, find("msd").place(first)) == (first.id, f"A/A/A/{first.id}.mp3")
    (tables / "output_labels_msd.txt").write_text("\n".join(f"tag {number:02d}" for number in range(12)))
    find("msd").read.cache_clear()
    assert find("msd").corpus(None, tables).vocabulary("tags") == corpus.vocabulary("tags")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("output_labels_msd.txt", "MSD_LABELS = [exit()]", "no list of tags"),
        ("output_labels_msd.txt", "", "no list of tags"),
        ("val_gt_msd.tsv", "TRX\t[0, 1]\n", "TRX has no list of 12 zeros and ones"),
        ("val_gt_msd.tsv", "TRX\t__import__('os')\n", "TRX has no list of 12 zeros and ones"),
        ("val_gt_msd.tsv", "TRX [0, 1]\n", "two columns with a tab"),
        ("val_gt_msd.tsv", f"TRAAA0000000000001\t{[0] * 12}\n", "TRAAA0000000000001 stands there, or in another"),
        ("test_gt_msd.tsv", None, "cannot be read .No such file"),
    ],
)
def test_tables_of_the_million_song_dataset_are_read_and_never_run(file, text, message, tmp_path):
    tables = make_up_msd(tmp_path)
    (tables / file).unlink()
    if text is not None:
        (tables / file).write_text(text)
    with pytest.raises(CorpusError, match=message):
        find("msd").items(tables)


def test_librispeech_has_a_validation_split_of_the_speakers_of_its_training(tmp_path):
    definition, copy = find("librispeech"), make_up_librispeech(tmp_path)
    corpus = definition.corpus(None, copy)
    train, valid, test = sizes(corpus)
    assert (train + valid, test) == (200, 75)
    assert 5 <= valid <= 40
    speakers = {
        name: {track.annotations["genre"] for track in corpus.split(name)} for name in ("train", "valid", "test")
    }
    assert speakers["valid"] <= speakers["train"] == {str(number) for number in range(100, 108)}
    assert not speakers["test"] & speakers["train"]
    for item in definition.items(copy)[::20]:
        place = PurePosixPath(definition.place(item))
        assert definition.name_of(place) == item.name
        assert (copy / place.parent).is_dir()
    with pytest.raises(CorpusError, match="no transcripts"):
        definition.items(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["msd", "librispeech"])
def test_annotations_that_are_not_given_are_asked_for(name):
    with pytest.raises(CorpusError, match=r"do not come with|none is given"):
        find(name).items()


def test_other_annotations_are_refused(made_up, tmp_path):
    jamendo = find("jamendo")
    with pytest.raises(CorpusError, match="none is given"):
        jamendo.items()
    with pytest.raises(CorpusError, match=r"no such file in this copy of https://github\.com/MTG"):
        jamendo.items(tmp_path)
    short = replace(find("gtzan"), read=lambda metadata: find("gtzan").items()[1:])
    with pytest.raises(CorpusError, match=r"443 train / 196 valid / 290 test .* published are 443 train / 197 valid"):
        short.items()


def test_an_unknown_corpus_or_protocol_is_named():
    with pytest.raises(CorpusError, match="unknown corpus 'gtzann'; did you mean 'gtzan'"):
        find("gtzann")
    with pytest.raises(CorpusError, match="no protocol 'pons'; valid: all, public"):
        find("mtt").corpus("pons")


def test_recordings_of_one_protocol_keep_only_what_it_says():
    chosen = within(find("mtt").items(), ["public"])
    assert len(chosen) == 21_105
    assert set(chosen[0].rows) == {"public"}


@pytest.mark.parametrize("name", [name for name in CORPORA if not CORPORA[name].metadata])
def test_published_places_lead_back_to_the_recording(name):
    definition = find(name)
    for item in definition.items()[:: max(len(definition.items()) // 50, 1)]:
        assert definition.name_of(PurePosixPath(definition.place(item))) == item.name


@pytest.mark.parametrize(
    ("corpus", "path", "name"),
    [
        ("mtt", "mp3/f/a-01-b-30-59.mp3", "f/a-01-b-30-59"),
        ("gtzan", "Data/genres_original/jazz/jazz.00054.wav", "jazz.00054"),
        ("gtzan", "genres/jazz/jazz00054.au", "jazz.00054"),
        ("giantsteps_key", "audio/10089.LOFI.mp3", "10089"),
        ("giantsteps_key", "audio/10089 Jason Sparks - Close My Eyes (Original Mix).mp3", "10089"),
        ("giantsteps_mtg_key", "clips/0010089.wav", "10089"),
        ("emomusic", "clips_45seconds/2.mp3", "2"),
        ("emomusic", "wav/0002.wav", "2"),
        ("jamendo", "audio-low/48/948.low.mp3", "48/948"),
        ("jamendo", "48/948.mp3", "48/948"),
        ("msd", "7digital/6/5/6543219.clip.mp3", "6543219"),
        ("msd", "A/A/A/TRAAAAK128F9318786.mp3", "TRAAAAK128F9318786"),
        ("librispeech", "train-clean-100/103/1240/103-1240-0000.flac", "103-1240-0000"),
    ],
)
def test_files_are_known_in_the_layouts_of_the_field(corpus, path, name):
    assert find(corpus).name_of(PurePosixPath(path)) == name
