"""Labels of tracks that are trained on without them: found where the settings say, and never a reason to stop."""

from __future__ import annotations

import pytest

from datasets.corpus import CorpusError
from datasets.examples import Examples
from datasets.store import Store
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tracks.labelled import labelled_examples
from tests.experiments.training.contrastive_toys import examples, genre, make_store


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def write(store, rows, header="path,genre"):
    (store.parent / "tracks.csv").write_text("\n".join([header, *rows]) + "\n")


def labelled(store, most=100, splits=None, **settings):
    given = DatamoduleSettings(base_dir=str(store), **settings)
    return labelled_examples(given, store, Store(store), splits or examples(), most)


def test_tracks_keep_the_splits_that_they_are_trained_in(store):
    write(store, [f"{track}.ogg,g{genre(track)},train" for track in (0, 1, 2, 50, 51)], "path,genre,split")
    task, splits = labelled(store)
    assert task.name == "genre"
    assert splits["train"].ids == ("0.ogg", "1.ogg", "2.ogg")
    assert splits["valid"].ids == ("50.ogg", "51.ogg")
    assert splits["train"].targets.tolist() == [0, 1, 2]


def test_tracks_of_the_test_are_left_alone(store):
    write(store, [f"{track}.ogg,g{genre(track)}" for track in range(72)])
    given = examples()
    given["train"] = Examples(given["train"].ids[:8], given["train"].stored[:8], None)
    _, splits = labelled(store, splits=given)
    assert len(splits["train"]) == 8
    assert len(splits["test"]) == 0


def test_of_many_tracks_the_same_few_are_taken(store):
    write(store, [f"{track}.ogg,g{genre(track)}" for track in range(72)])
    first, again = labelled(store, most=10)[1], labelled(store, most=10)[1]
    assert len(first["train"]) == len(first["valid"]) == 10
    assert first["train"].ids == again["train"].ids
    assert [f"{number}.ogg" for number in range(10)] != list(first["train"].ids)
    assert first["train"].targets.tolist() == [genre(int(one.removesuffix(".ogg"))) for one in first["train"].ids]


def test_labels_that_cannot_be_used_are_named(store):
    write(store, ["a.ogg,rock", "b.ogg,jazz"])
    with pytest.raises(CorpusError, match="none of the 2 labelled tracks"):
        labelled(store)
    write(store, ["0.ogg,rock", "1.ogg,jazz"])
    with pytest.raises(CorpusError, match="no tracks in split valid"):
        labelled(store)
    with pytest.raises(UserError, match="key"):
        labelled(store, task="key")
