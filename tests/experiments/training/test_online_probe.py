"""A linear probe beside a training without labels: it says how good embeddings become, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.errors import UserError
from tests.experiments.training.contrastive_toys import fit, learner, loaders, make_store, probe


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


def weights(made):
    return {name: value.clone() for name, value in made.state_dict().items()}


def test_the_curve_rises_where_embeddings_get_better(store, tmp_path):
    clips = loaders(store)
    curves = fit(tmp_path, learner(), clips, [probe(clips, every=3)], epochs=5)
    points = curves.series["val/probe_accuracy"]
    assert [step for step, _ in points] == [0, 9, 15]  # before, after epoch 3, at the end
    assert len(curves.series["val/loss"]) == 5
    assert points[0][1] < 0.6
    assert points[-1][1] > 0.9
    assert "val/probe_macro_f1" in curves.series


def test_training_is_bit_by_bit_what_it_is_without_a_probe(store, tmp_path):
    trained, losses = [], []
    for number, watched in enumerate((True, False)):
        clips, made = loaders(store), learner()
        (tmp_path / f"{number}").mkdir()
        watching = [probe(clips, every=1)] if watched else []
        curves = fit(tmp_path / f"{number}", made, clips, watching, epochs=3)
        trained.append(weights(made))
        losses.append(curves.series["val/loss"])
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())
    assert losses[0] == losses[1]


def test_a_training_that_goes_on_has_the_same_curve(store, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    clips = loaders(store)
    (whole.mkdir(), parts.mkdir())
    expected = fit(whole, learner(), clips, [probe(clips, every=2)], epochs=4)
    fit(parts, learner(), clips, [probe(clips, every=2)], epochs=2)
    again = fit(parts, learner(), clips, [probe(clips, every=2)], epochs=4, goes_on=True)
    assert again.series["val/probe_accuracy"] == expected.series["val/probe_accuracy"]
    assert again.series["val/loss"] == expected.series["val/loss"]


@pytest.mark.parametrize(
    ("validated_every", "every", "epochs", "fitted"),
    [(1, 2, 5, [2, 4, 5]), (3, 2, 9, [3, 6, 9]), (2, 3, 8, [4, 6, 8]), (1, 9, 4, [4])],
)
def test_it_is_fitted_at_the_validations_that_follow(store, validated_every, every, epochs, fitted):
    class Trainer:
        check_val_every_n_epoch, max_epochs, current_epoch = validated_every, epochs, 0

    made, found = probe(loaders(store), every=every), []
    for epoch in range(epochs):
        Trainer.current_epoch = epoch
        if (epoch + 1) % validated_every == 0 and made._due(Trainer):
            found.append(epoch + 1)
    assert found == fitted


def test_embeddings_that_are_not_finite_give_no_scores(store, tmp_path):
    clips, made = loaders(store), learner()
    with torch.no_grad():
        made.net.linear.bias.fill_(torch.nan)
    with pytest.warns(UserWarning, match="linear probe: track '0.ogg'"):
        curves = fit(tmp_path, made, clips, [probe(clips)], epochs=1)
    assert "val/probe_accuracy" not in curves.series


def test_a_task_that_cannot_be_scored_is_refused(store):
    from datasets.examples import Examples
    from experiments.tasks import build
    from experiments.training.online_probe import OnlineProbe

    clips, ids = loaders(store), ("0.ogg", "1.ogg")
    one = Examples(ids, ids, np.ones((2, 1), np.float32))
    with pytest.raises(UserError, match="none of the 1 tags can be scored"):
        OnlineProbe(build("tagging", classes=["a"]), {"train": one, "valid": one}, clips.features, clips.windowing)
