"""What watches a training without labels follows from what there is near the audio, which never ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.settings.training import TrainerSettings
from experiments.tracking import RunHandle
from experiments.training.collapse import CollapseWatch
from experiments.training.online_probe import OnlineProbe
from experiments.training.trainer import History
from experiments.training.watching import how_often, say_course, watch
from tests.experiments.training.contrastive_toys import genre, learner, loaders, make_store


@pytest.fixture
def store(tmp_path) -> Path:
    return make_store(tmp_path)


def label(store: Path, tracks: int = 72) -> None:
    rows = [f"{track}.ogg,g{genre(track)}" for track in range(tracks)]
    (store.parent / "tracks.csv").write_text("\n".join(["path,genre", *rows]) + "\n")


def watched(store: Path, made=None, trainer=None, **contrastive):
    settings = PretrainSettings(
        datamodule={"base_dir": str(store), "batch_size_train": 16},
        module={"objective": "contrastive"},
        contrastive=contrastive,
        trainer=trainer or {},
    )
    return watch(settings, made or learner(), loaders(store), RunHandle(store.parent, 0))


def test_labels_near_the_audio_are_probed(store, capsys):
    label(store)
    made = learner()
    collapse, probe = watched(store, made, probe_every=7, probe_tracks=30)
    assert (type(collapse), type(probe), collapse.every, probe.every) == (CollapseWatch, OnlineProbe, 3, 7)
    assert {name: len(one) for name, one in probe.splits.items()} == {"train": 30, "valid": 24, "test": 0}
    assert made.objective.panels["linear probe"] == ("probe_accuracy", "probe_macro_f1")
    assert made.objective.shown == ("top1", "probe_accuracy")
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("linear probe of genre before the training and every 7 epochs, fitted on 30 and evaluated")


@pytest.mark.parametrize(
    ("every", "validated", "said"),
    [
        (1, 1, "every epoch"),
        (5, 1, "every 5 epochs"),
        (5, 10, "every 10 epochs"),
        (20, 10, "every 20 epochs"),
        (15, 10, "every 15 epochs, in the next validation, one every 10 epochs"),
    ],
)
def test_what_is_said_of_the_probe_is_when_there_is_a_validation(every, validated, said):
    assert how_often(every, TrainerSettings(max_epochs=100, check_val_every_n_epoch=validated)) == said


def test_without_labels_there_is_no_probe_and_a_line_says_so(store, capsys):
    (only,) = watched(store)
    assert isinstance(only, CollapseWatch)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("no linear probe: no labels near the audio")


def test_labels_that_cannot_be_used_do_not_end_a_training(store, capsys):
    label(store, tracks=5)
    assert len(watched(store)) == 1
    assert capsys.readouterr().err.startswith("no linear probe: no tracks in split valid")


def test_a_probe_that_nobody_wants_is_not_mentioned(store, capsys):
    label(store)
    assert len(watched(store, probe_every=None)) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("monitor", ["metric", "alignment", "uniformity"])
def test_what_does_not_tell_the_best_epoch_is_refused_before_the_training(store, monitor):
    made = learner()
    made.monitor = f"val/{monitor}"
    with pytest.raises(UserError, match=rf"trainer\.monitor={monitor} does not tell which epoch .* choose loss, top1"):
        watched(store, made)


@pytest.mark.parametrize(
    ("labelled", "problem"), [(False, "there is no linear probe"), (True, "set contrastive.probe")]
)
def test_the_best_epoch_can_be_that_of_the_probe_where_every_validation_has_one(store, labelled, problem):
    made = learner()
    made.monitor = "val/probe_accuracy"
    if labelled:
        label(store)
    with pytest.raises(UserError, match=f"trainer.monitor=probe_accuracy.*{problem}"):
        watched(store, made)
    if labelled:
        assert len(watched(store, made, probe_every=1)) == 2


def test_the_course_of_a_training_is_said_at_its_end(capsys):
    curves = History()
    curves.series = {"val/top1": [(3, 0.1), (6, 0.25)], "val/probe_ap": [(0, 0.2), (6, 0.5)]}
    say_course(curves, ("top1", "probe_ap"), 3, 7)
    assert (
        "on 7 validation tracks: top1 0.1 (epoch 1) to 0.25 (epoch 2), "
        "probe_ap 0.2 (before the training) to 0.5 (epoch 2); curves.png"
    ) in capsys.readouterr().err
