"""What a store says of the published corpora in it."""

from __future__ import annotations

import json

import pytest

from experiments.tracks.published import corpus_name, published_counts, version_of


@pytest.mark.parametrize(
    ("about", "table", "name"),
    [
        (None, "tracks", "my music"),
        (None, "moods", "moods"),
        ('{"seed": 1, "facts": {}}', "tracks", "my music"),
        ("[]", "tracks", "my music"),
        ("broken", "tracks", "my music"),
        ('{"mtt": {"protocols": {}}}', "tracks", "mtt"),
        ('{"jamendo": {"protocols": {}}}', "top50", "jamendo top50"),
    ],
)
def test_a_corpus_has_its_published_name_or_that_of_its_table_or_folder(tmp_path, about, table, name):
    if about is not None:
        (tmp_path / "corpus.json").write_text(about)
    assert corpus_name(tmp_path, "my music", table) == name


def test_annotations_and_numbers_of_tracks_are_those_that_the_store_states(tmp_path):
    protocols = {"usual": {"table": "tracks.csv", "published": {"train": 3, "test": 2}}}
    facts = {"protocols": protocols, "annotations": "second edition"}
    (tmp_path / "corpus.json").write_text(json.dumps({"songs": facts}))
    assert version_of(tmp_path) == "second edition"
    assert published_counts(tmp_path, "tracks") == {"train": 3, "test": 2}
    assert published_counts(tmp_path, "other") == {}
    (tmp_path / "corpus.json").write_text(json.dumps({"songs": {**facts, "cut_to": "list.txt"}}))
    assert published_counts(tmp_path, "tracks") == {}
