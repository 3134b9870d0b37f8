"""Audio without annotations: what a student learns of a teacher's logits, and which settings need annotations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from datasets.store import Header, StoreWriter
from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.training import distilling, unannotated
from experiments.training.monitoring import monitored
from experiments.transfer.settings import TransferSettings

LABELS = ["kora", "oud", "ney"]
IDS = [f"album/{number:02}.ogg" for number in range(20)]


@pytest.fixture
def music(tmp_path):
    """A folder of audio, whose content nobody reads here, and the logits of a teacher: track n is of class n % 3."""
    (tmp_path / "music" / "album").mkdir(parents=True)
    for identity in IDS:
        (tmp_path / "music" / identity).touch()

    def write(name="logits", ids=IDS, **producer):
        about = {"labels": LABELS, "window_frames": 100, "hop_frames": 100, **producer}
        with StoreWriter(tmp_path / name, Header("logits", (3,), producer=about, fingerprint="made")) as writer:
            for number, identity in enumerate(ids):
                writer.append(identity, np.eye(3)[number % 3][None] * 8 - 4)
        return str(tmp_path / name)

    return write


def settings(store, tmp_path, model=None, distillation=None, **datamodule):
    given = {"base_dir": str(tmp_path / "music"), **datamodule}
    taught = {"logits": store, **(distillation or {})}
    return PretrainSettings(model=model or {"network": "short_chunk"}, distillation=taught, datamodule=given)


def offered(given):
    return unannotated.teacher_alone(given, distilling.open_logits(given))


def annotated(given, tmp_path):
    features = SimpleNamespace(ids=tuple(IDS))
    source = SimpleNamespace(features=features, name="music", base_dir=tmp_path / "music")
    return unannotated.annotate(given, offered(given), source)


def test_tracks_get_the_tags_that_the_teacher_gives(music, tmp_path, capsys):
    corpus = annotated(settings(music(), tmp_path, splits="stratified"), tmp_path)
    assert [track.annotations["tags"] for track in corpus][:3] == [("kora",), ("oud",), ("ney",)]
    assert {track.split for track in corpus} == {"train", "valid", "test"}
    assert "the student learns what the teacher gives, 3 classes" in capsys.readouterr().err


def test_the_class_that_is_most_probable_is_that_of_a_track(music, tmp_path):
    given = settings(music(task="genre"), tmp_path)
    assert [track.annotations["genre"] for track in annotated(given, tmp_path)][:3] == LABELS


def test_classes_that_are_named_are_learned_alone(music, tmp_path):
    (tmp_path / "labels.txt").write_text("ney\nkora\n")
    given = settings(music(), tmp_path, labels=str(tmp_path / "labels.txt"))
    assert (offered(given).task.classes, offered(given).columns) == (("ney", "kora"), (2, 0))
    tags = [track.annotations["tags"] for track in annotated(given, tmp_path)]
    assert tags[0] == ("kora",)
    assert tags[2] == ("ney",)


def test_with_a_table_or_folders_of_classes_there_are_annotations(music, tmp_path):
    store = music()
    (tmp_path / "tracks.csv").write_text("path,tags\nalbum/00.ogg,kora\n")
    assert offered(settings(store, tmp_path)) is None
    assert offered(settings(store, tmp_path, groundtruth="teacher")).task.classes == tuple(LABELS)
    (tmp_path / "tracks.csv").unlink()
    assert offered(settings(store, tmp_path)).task.name == "tagging"
    (tmp_path / "music" / "other").mkdir()
    (tmp_path / "music" / "other" / "1.ogg").touch()
    assert offered(settings(store, tmp_path)) is None


def test_splits_of_a_table_are_kept_without_its_annotations(music, tmp_path, capsys):
    given = ["test"] * 4 + ["valid"] * 4 + ["train"] * 8
    rows = [f"{identity},kora,{split}" for identity, split in zip(IDS, given, strict=False)]
    (tmp_path / "tracks.csv").write_text("\n".join(["path,tags,split", *rows]) + "\n")
    corpus = annotated(settings(music(), tmp_path, groundtruth="teacher"), tmp_path)
    assert [track.split for track in corpus] == ["test"] * 4 + ["valid"] * 4 + ["train"] * 12
    assert corpus.tracks[1].annotations["tags"] == ("oud",)
    said = capsys.readouterr().err
    assert "annotations left out (datamodule.groundtruth=teacher): the student learns" in said
    assert f"splits of {tmp_path / 'tracks.csv'}" in said
    assert "no annotations" not in said
    other = annotated(settings(music("again"), tmp_path, groundtruth="teacher", splits="hashed"), tmp_path)
    assert [track.split for track in other] != [track.split for track in corpus]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"distillation": {"weight": 0.3}}, r"distillation\.weight=0\.3: there are no annotations.*leave it out"),
        ({"model": {"distilled_type": "separated"}}, r"separated: .*first head.*distilled_type=mean"),
        ({"min_tracks": 2}, r"min_tracks=2: there are no annotations.*datamodule\.labels=FILE"),
        ({"task": "genre"}, r"task=genre: the teacher of .* is one of tagging.*leave"),
    ],
)
def test_settings_that_need_annotations_are_refused(music, tmp_path, how, message):
    with pytest.raises(UserError, match=message):
        offered(settings(music(), tmp_path, **how))


def test_a_teacher_has_to_be_named(tmp_path):
    given = PretrainSettings(datamodule={"base_dir": str(tmp_path), "groundtruth": "teacher"})
    with pytest.raises(UserError, match=r"groundtruth=teacher: no teacher is named.*distillation\.logits=STORE"):
        unannotated.teacher_alone(given, None)
    with pytest.raises(ValidationError, match=r"without a network: a probe has no teacher.*model\.network=NAME"):
        TransferSettings(distillation={"logits": "x"})


def test_tracks_without_logits_are_left_out_or_too_many(music, tmp_path, capsys):
    corpus = annotated(settings(music(ids=IDS[1:]), tmp_path), tmp_path)
    assert len(corpus) == 19
    assert "1 of 20 tracks without teacher's logits: album/00.ogg; they are left out" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"10 of 20 .* more than distillation\.max_missing=0\.1: run extract_logits"):
        annotated(settings(music("half", IDS[10:]), tmp_path), tmp_path)
    with pytest.raises(UserError, match=r"another corpus: none of 20 tracks"):
        annotated(settings(music("other", ["x/1.wav", "x/2.wav"]), tmp_path), tmp_path)


def test_the_best_epoch_is_the_nearest_to_the_teacher(music, tmp_path):
    given = settings(music(), tmp_path)
    assert monitored("metric", offered(given).task, annotated=False) == "val/loss"
    assert monitored("metric", offered(given).task) == "val/ap"
