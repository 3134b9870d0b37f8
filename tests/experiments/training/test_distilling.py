"""Which classes and tracks of a store of logits a student learns from, and what is reported of the others."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from datasets.examples import Examples
from datasets.store import Header, Store, StoreWriter
from datasets.teachers import probabilities
from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.tracking import RunHandle
from experiments.training import distilling
from models.frontends import MusiCNNMel

LABELS = ["kora", "oud", "ney"]
IDS = [f"album/{number}.ogg" for number in range(20)]


@pytest.fixture
def written(tmp_path):
    """Writes a store; every track has one row that tells its number."""

    def write(name="logits", kind="logits", ids=IDS, checksum="as it was", width=3, **producer):
        about = {"labels": LABELS, "window_frames": 100, "hop_frames": 100, **producer}
        about = {key: value for key, value in about.items() if value is not None}
        with StoreWriter(tmp_path / name, Header(kind, (width,), producer=about, fingerprint="made")) as writer:
            for number, identity in enumerate(ids):
                writer.append(identity, np.eye(width)[number % width][None] * 8 - 4, checksum=checksum)
        return tmp_path / name

    return write


def settings(store, two=True, **distillation):
    model = {"distilled_type": "separated" if two else "mean"}
    return PretrainSettings(model=model, distillation={"logits": str(store), **distillation})


def opened(store, two=True, task="tagging", classes=("oud", "kora"), **distillation):
    given = settings(store, two, **distillation)
    logits = distilling.open_logits(given)
    return given, distilling.teacher_outputs(given, logits, build(task, classes=classes))


def made(given, offered, tmp_path, train=IDS[:16], valid=IDS[16:], features=None):
    splits = {
        "train": Examples(tuple(train), tuple(train), np.ones((len(train), 2), np.float32)),
        "valid": Examples(tuple(valid), tuple(valid), np.ones((len(valid), 2), np.float32)),
    }
    source = SimpleNamespace(features=features, frontend=MusiCNNMel())
    return distilling.make_teacher(given, offered, splits, source, RunHandle(tmp_path, 0))


def test_without_a_store_there_is_no_teacher_and_no_second_head():
    assert distilling.open_logits(PretrainSettings()) is None
    with pytest.raises(UserError, match=r"learns from a teacher.*distillation\.logits=STORE"):
        distilling.open_logits(PretrainSettings(model={"distilled_type": "separated"}))


def test_a_second_head_learns_all_classes_of_the_teacher(written, tmp_path):
    given, offered = opened(written())
    assert (offered.task.classes, offered.second_head) == (tuple(LABELS), 3)
    teacher, _ = made(given, offered, tmp_path)
    assert teacher.targets(IDS[1], 0, 50).tolist() == [0, 1, 0]


def test_one_head_learns_the_classes_it_has_in_its_own_order(written, tmp_path, capsys):
    given, offered = opened(written(), two=False)
    assert (offered.task.classes, offered.second_head, offered.columns) == (("oud", "kora"), None, (1, 0))
    assert "the student does not have 1 of the teacher's 3 classes: ney" in capsys.readouterr().err
    teacher, _ = made(given, offered, tmp_path)
    assert teacher.targets(IDS[0], 0, 50).tolist() == [0, 1]
    assert teacher.targets(IDS[1], 0, 50).tolist() == [1, 0]


def test_one_head_and_classes_that_the_teacher_lacks(written):
    store = written()
    with pytest.raises(UserError, match=r"lacks 1 of the student's 2 classes \(sitar; .*separated"):
        opened(store, two=False, classes=("oud", "sitar"))
    many = [f"style {number}" for number in range(50)]
    with pytest.raises(UserError, match=r"lacks 50 .*style 19, ... \(50 in all\)"):
        opened(store, two=False, classes=many)


def test_a_network_without_a_second_head_is_told_which_has_one(written):
    given = PretrainSettings(model={"network": "fcn"}, distillation={"logits": str(written())})
    with pytest.raises(UserError, match=r"head of its own, model\.network=maest model\.distilled_type=separated"):
        distilling.teacher_outputs(given, distilling.open_logits(given), build("genre", classes=["oud", "kora"]))


def test_a_teacher_of_another_task_needs_a_head_of_its_own(written):
    store = written(task="genre")
    with pytest.raises(UserError, match=r"logits of the task genre, the student's is tagging; .*separated"):
        opened(store, two=False)
    given, offered = opened(store)
    assert offered.task.name == "genre"
    assert distilling.rule_of(given.distillation, offered.task).exclusive
    with pytest.raises(UserError, match="1 class that the student has not: ney"):
        opened(store, two=False, task="genre")


def test_a_teacher_of_values_is_refused_and_one_of_tempi_chooses_one(written):
    about = {"task": "emotion", "labels": ["arousal", "valence"], "options": {"mean": [5, 5], "scale": [1, 1]}}
    with pytest.raises(UserError, match=r"a teacher of emotion gives values.*key, tempo, tempo_any_octave$"):
        opened(written(width=2, **about))
    tempo = build("tempo")
    given, offered = opened(written("tempo", width=256, task="tempo", labels=list(tempo.classes)))
    assert offered.second_head == 256
    assert distilling.rule_of(given.distillation, offered.task).exclusive


def test_targets_that_vary_over_time_are_refused(written, monkeypatch):
    store = written()
    over_time = build("tagging", classes=["oud", "kora"])
    monkeypatch.setattr(type(over_time), "clip_level", False)
    with pytest.raises(UserError, match=r"the student's task tagging has targets that vary over time.*leave"):
        opened(store, two=False)


def test_soft_targets_and_the_choice_of_window_come_from_the_settings(written, tmp_path):
    given, offered = opened(written(), targets="soft", temperature=2.0, window="mean")
    teacher, _ = made(given, offered, tmp_path)
    assert teacher.rule.window == "mean"
    assert teacher.targets(IDS[0], 0, 50) == pytest.approx(probabilities(np.array([4, -4, -4]), False, 2.0))


def test_windows_of_another_frame_rate_are_converted(written, tmp_path):
    teacher, _ = made(*opened(written(frame_rate=31.25)), tmp_path)
    assert (teacher.window, teacher.hop) == (200, 200)
    teacher, _ = made(*opened(written("plain")), tmp_path)
    assert teacher.window == 100


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kind": "embeddings"}, r"holds embeddings, logits is needed.*extract_logits makes one"),
        ({"kind": "mel"}, "holds mel, logits is needed"),
        ({"labels": None, "hop_frames": None}, "does not say labels, hop_frames"),
        ({"labels": LABELS[:2]}, r"rows of shape \[3\] and 2 labels"),
        ({"ids": []}, "no track in it"),
    ],
)
def test_stores_that_are_no_teacher_are_named(written, how, message):
    with pytest.raises(UserError, match=message):
        distilling.open_logits(settings(written(**how)))


def test_a_folder_that_is_no_store(tmp_path, written):
    with pytest.raises(UserError, match="no store at"):
        distilling.open_logits(settings(tmp_path / "gone"))
    written("extracted/logits")
    assert len(distilling.open_logits(settings(tmp_path / "extracted"))) == 20


def test_logits_of_another_corpus(written, tmp_path):
    with pytest.raises(UserError, match=r"another corpus: none of 20 tracks \('album/0.ogg', ...\) is among its 2"):
        made(*opened(written(ids=["x/one.wav", "x/two.wav"])), tmp_path)


def test_few_tracks_without_logits_are_listed_and_left_out(written, tmp_path, capsys):
    given, offered = opened(written(ids=[*IDS[1:16], IDS[17]]))
    teacher, splits = made(given, offered, tmp_path)
    assert splits["train"].ids == tuple(IDS[1:16])
    assert len(splits["train"].targets) == 15
    assert splits["valid"].ids == tuple(IDS[16:])
    assert IDS[18] not in teacher
    assert "1 of 16 training tracks without teacher's logits: album/0.ogg; they are left" in capsys.readouterr().err
    with (tmp_path / "without_logits.csv").open() as handle:
        rows = [tuple(row.values()) for row in csv.DictReader(handle)]
    valid = [(identity, "valid", "no logits") for identity in (IDS[16], IDS[18], IDS[19])]
    assert rows == [(IDS[0], "train", "no logits"), *valid]


def test_too_many_tracks_without_logits_are_an_error(written, tmp_path):
    store = written(ids=IDS[4:])
    with pytest.raises(UserError, match=r"4 of 16 .* more than distillation.max_missing=0.1: run extract_logits"):
        made(*opened(store), tmp_path)
    _, splits = made(*opened(store, max_missing=0.25), tmp_path)
    assert len(splits["train"]) == 12


def test_files_of_another_suffix_are_the_same_tracks(written, tmp_path):
    store = written(ids=[identity.replace(".ogg", ".flac") for identity in IDS])
    teacher, splits = made(*opened(store), tmp_path)
    assert len(splits["train"]) == 16
    assert teacher.targets(IDS[2], 0, 50).tolist() == [0, 0, 1]


def test_other_audio_under_the_same_name_is_not_what_the_teacher_saw(written, tmp_path, capsys):
    def mels(name, changed):
        with StoreWriter(tmp_path / name, Header("mel", (96,), fingerprint="m")) as writer:
            for identity in IDS:
                checksum = "replaced" if identity in changed else "as it was"
                writer.append(identity, np.zeros((2, 96), np.float16), checksum=checksum)
        return Store(tmp_path / name)

    given, offered = opened(written())
    _, splits = made(given, offered, tmp_path, features=mels("few", IDS[:1]))
    assert len(splits["train"]) == 15
    assert "1 of them because the audio was replaced since" in capsys.readouterr().err
    replaced = mels("all", IDS)
    with pytest.raises(UserError, match="16 of 16"):
        made(given, offered, tmp_path, features=replaced)
    given, offered = opened(written("unsigned", checksum=""))  # made of a folder that tells nothing of its audio
    _, splits = made(given, offered, tmp_path, features=replaced)
    assert len(splits["train"]) == 16


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"weight": 0.9}, "weight=0.9 without logits"),
        ({"logits": "x", "temperature": 2.0}, "temperature=2.0 counts for soft targets only"),
        ({"logits": "x", "targets": "soft", "threshold": 0.3}, "threshold=0.3 counts for hard targets only"),
    ],
)
def test_settings_that_nothing_would_read_are_refused(section, message):
    with pytest.raises(ValueError, match=message):
        PretrainSettings(distillation=section)
