"""A probe trained alone: its training, its file, the choice of one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.preprocessing import StandardScaler

from benchmarks import single_probe
from benchmarks.single_probe import fit
from experiments.errors import UserError
from experiments.probes.fitted import FittedProbe
from experiments.probes.vectors import Split
from experiments.tasks import Genre, Tagging
from models.probes import rng
from models.probes.apply import scaled, scaler
from models.probes.grids import ProbeConfig, points
from tests.experiments.probes.one_by_one import best, search

GENRES = ("jazz", "metal", "pop")
QUICK = ProbeConfig(learning_rate=1e-2, dropout=0.25, batch_size=32, patience=6)


def genre_split(name: str, n: int, seed: int, width: int = 12, noise: float = 1.0) -> Split:
    """Classes whose means differ along the first values; the last value is constant."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = noise * rng.normal(size=(n, width)).astype(np.float32)
    x[np.arange(n), y] += 2
    x[:, -1] = 0.1
    return Split(x, y, [f"{name}{i}" for i in range(n)], features={"fingerprint": "abc"})


@pytest.fixture(scope="module")
def task() -> Genre:
    return Genre(GENRES)


@pytest.fixture(scope="module")
def splits() -> tuple[Split, Split, Split]:
    return genre_split("a", 120, 0), genre_split("b", 60, 1), genre_split("c", 200, 2)


@pytest.mark.parametrize("hidden", [None, 16])
@pytest.mark.parametrize("standardise", [True, False])
def test_a_probe_finds_a_known_signal(task, splits, hidden, standardise):
    train, valid, test = splits
    probe = fit(task, train, valid, replace(QUICK, hidden=hidden, standardise=standardise), seed=0)
    assert task.score(probe.predict(test), test.y)["accuracy"] > 0.75
    assert probe.value == task.score(probe.predict(valid), valid.y)["accuracy"]


def test_a_hidden_layer_solves_what_a_linear_probe_cannot():
    rng = np.random.default_rng(0)

    def split(name, n):
        x = rng.choice([-1.0, 1.0], (n, 2)).astype(np.float32)
        return Split(x, (x[:, :1] * x[:, 1:] > 0).astype(np.float32), [f"{name}{i}" for i in range(n)])

    task, train, valid = Tagging(["equal"]), split("a", 200), split("b", 100)
    config = replace(QUICK, dropout=0.0, patience=20)
    assert fit(task, train, valid, replace(config, hidden=32), seed=0).value == 1
    assert fit(task, train, valid, config, seed=0).value < 0.8


def test_tagging_learns_from_multi_hot_targets():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(10, 4))

    def split(name, n):
        x = rng.normal(size=(n, 10)).astype(np.float32)
        return Split(x, (x @ mixing > 1).astype(np.float32), [f"{name}{i}" for i in range(n)])

    task = Tagging(["a", "b", "c", "d"])
    train, valid, test = split("a", 200), split("b", 80), split("c", 200)
    probe = fit(task, train, valid, QUICK, seed=0)
    assert task.score(probe.predict(test.x), test.y)["roc_auc"] > 0.95


def test_the_same_arguments_give_the_same_probe_and_leave_the_global_generators_alone(task, splits):
    train, valid, _ = splits
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, same = (fit(task, train, valid, QUICK, seed=1) for _ in range(2))
    other = fit(task, train, valid, QUICK, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(np.array_equal(one.weights[name], same.weights[name]) for name in one.weights)
    assert one.curve == same.curve
    assert not np.array_equal(one.weights["0.weight"], other.weights["0.weight"])


@pytest.mark.parametrize("patience", [1, 6])
@pytest.mark.parametrize("every", [3, 8])
def test_it_stops_patience_and_one_evaluations_after_the_best(task, splits, patience, every):
    train, valid, _ = splits
    probe = fit(task, train, valid, replace(QUICK, patience=patience, evaluate_every=every), seed=0)
    assert probe.stop_step == probe.best_step + every * (patience + 1)
    steps, values = zip(*probe.curve, strict=True)
    assert steps == tuple(range(0, probe.stop_step, every))
    assert probe.value == max(values) == values[probe.best_step // every]
    assert values.index(probe.value) == probe.best_step // every


def test_the_first_evaluation_precedes_the_first_step(task, splits):
    train, valid, _ = splits
    probe = fit(task, train, valid, replace(QUICK, learning_rate=1e-12, patience=2), seed=0)
    assert probe.best_step == 0
    assert probe.stop_step == 24
    sizes = (train.x.shape[1], len(GENRES))
    initial = rng.initial_weights(sizes, rng.generator(0))
    np.testing.assert_array_equal(probe.weights["0.weight"], initial["0.weight"])


def test_a_limit_of_steps_gives_back_the_best_weights_and_not_the_last(task, splits):
    train, valid, _ = splits
    free = fit(task, train, valid, QUICK, seed=0)
    limited = fit(task, train, valid, replace(QUICK, max_steps=free.best_step + 9), seed=0)
    assert limited.stop_step == free.best_step + 9
    assert (limited.best_step, limited.value) == (free.best_step, free.value)
    np.testing.assert_array_equal(limited.weights["0.weight"], free.weights["0.weight"])


def test_the_first_step_is_that_of_torch_adam_with_coupled_l2(task, splits):
    train, valid, _ = splits
    config = ProbeConfig(dropout=0, batch_size=120, l2=0.1, learning_rate=0.05, evaluate_every=1, max_steps=1)
    probe = fit(task, train, valid, config, seed=0)
    assert probe.best_step == 1
    initial = rng.initial_weights((12, 3), rng.generator(0))
    layer = torch.nn.Linear(12, 3)
    with torch.no_grad():
        layer.weight.copy_(initial["0.weight"])
        layer.bias.copy_(initial["0.bias"])
    adam = torch.optim.Adam(layer.parameters(), lr=0.05, weight_decay=0.1)
    x = torch.from_numpy(StandardScaler().fit_transform(train.x.astype(np.float64)).astype(np.float32))
    torch.nn.functional.cross_entropy(layer(x), torch.from_numpy(train.y)).backward()
    adam.step()
    np.testing.assert_allclose(probe.weights["0.weight"][:, :-1], layer.weight.detach()[:, :-1], atol=1e-4)
    np.testing.assert_allclose(probe.weights["0.bias"], layer.bias.detach(), atol=1e-4)


def test_initial_weights_are_those_of_torch_linear_layers():
    drawn = rng.initial_weights((50, 40, 3), torch.Generator().manual_seed(5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        layers = [torch.nn.Linear(50, 40), torch.nn.Linear(40, 3)]
    for number, layer in enumerate(layers):
        torch.testing.assert_close(drawn[f"{number}.weight"], layer.weight.detach())
        torch.testing.assert_close(drawn[f"{number}.bias"], layer.bias.detach())


def test_dropout_acts_on_the_input_keeps_the_expectation_and_nests():
    eye = {"0.weight": torch.eye(4000), "0.bias": torch.zeros(4000)}
    x = torch.ones(8, 4000)
    kept = {p: single_probe.forward(eye, x, single_probe.drop_at(0, 0, p)) for p in (0.25, 0.5, 0.75)}
    for p, outputs in kept.items():
        assert (outputs == 0).float().mean().item() == pytest.approx(p, abs=0.02)
        assert outputs.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.all((kept[0.75] > 0) <= (kept[0.5] > 0))
    assert torch.all((kept[0.5] > 0) <= (kept[0.25] > 0))
    assert torch.equal(single_probe.forward(eye, x), x)


def test_training_drops_inputs_and_prediction_does_not(task, splits):
    train, valid, _ = splits
    config = replace(QUICK, max_steps=8, patience=1)
    dry, wet = (fit(task, train, valid, replace(config, dropout=p), seed=0) for p in (0.0, 0.75))
    assert not np.allclose(dry.weights["0.weight"], wet.weights["0.weight"], atol=1e-3)
    np.testing.assert_array_equal(wet.predict(valid), wet.predict(valid))


@given(factor=st.floats(0.01, 100), shift=st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_standardised_features_do_not_know_their_unit(factor, shift):
    x = np.random.default_rng(0).normal(size=(30, 4))
    moved = x * factor + shift
    np.testing.assert_allclose(scaled(moved, *scaler(moved, True)), scaled(x, *scaler(x, True)), atol=1e-4)


def test_the_scaler_is_that_of_scikit_learn_and_leaves_constant_values_at_zero(splits):
    x = splits[0].x
    mean, scale = scaler(x, True)
    expected = StandardScaler().fit(x[:, :-1].astype(np.float64))
    np.testing.assert_allclose(mean[:-1], expected.mean_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scale[:-1], expected.scale_, rtol=1e-9)
    assert scale[-1] == 1
    assert np.all(scaled(x, mean, scale)[:, -1] == 0)


def test_only_training_tracks_shape_the_scaler(task, splits):
    train, valid, _ = splits
    moved = replace(valid, x=valid.x + 50)
    probes = [fit(task, train, split, replace(QUICK, max_steps=8), seed=0) for split in (valid, moved)]
    np.testing.assert_array_equal(probes[0].mean, probes[1].mean)
    np.testing.assert_array_equal(probes[0].scale, probes[1].scale)


@pytest.mark.parametrize("hidden", [None, 16])
def test_a_saved_probe_predicts_as_before(task, splits, tmp_path, hidden):
    train, valid, test = splits
    probe = fit(task, train, valid, replace(QUICK, hidden=hidden), seed=3)
    loaded = FittedProbe.load(probe.save(tmp_path / "probe.safetensors"))
    np.testing.assert_array_equal(loaded.predict(test), probe.predict(test))
    assert loaded.task.classes == GENRES
    for name in ("config", "seed", "features", "value", "loss", "best_step", "stop_step", "curve"):
        assert getattr(loaded, name) == getattr(probe, name)
    assert [path.name for path in tmp_path.iterdir()] == ["probe.safetensors"]


def test_what_is_no_probe_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such probe"):
        FittedProbe.load(tmp_path / "gone.safetensors")
    (tmp_path / "probe_key.safetensors").touch()
    with pytest.raises(UserError, match=r"no such probe; there is probe_key\.safetensors"):
        FittedProbe.load(tmp_path)
    (tmp_path / "text.safetensors").write_text(json.dumps({"a": 1}))
    with pytest.raises(UserError, match="not a safetensors file"):
        FittedProbe.load(tmp_path / "text.safetensors")
    save_file({"weight": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="format None, expected 'ostinato probe 1'"):
        FittedProbe.load(tmp_path / "other.safetensors")


def test_features_of_another_encoder_or_width_are_refused(task, splits):
    train, valid, test = splits
    probe = fit(task, train, valid, replace(QUICK, max_steps=8), seed=0)
    with pytest.raises(UserError, match="trained on fingerprint 'abc', these vectors are fingerprint 'xyz'"):
        probe.predict(replace(test, features={"fingerprint": "xyz"}))
    with pytest.raises(UserError, match=r"shape \[200, 11\], the probe was trained on \[tracks, 12\]"):
        probe.predict(test.x[:, 1:])
    with pytest.raises(UserError, match="are fingerprint 'abc', validation vectors are fingerprint None"):
        fit(task, train, replace(valid, features={}), QUICK, seed=0)
    with pytest.raises(UserError, match="training vectors have 12 values, validation vectors 11"):
        fit(task, train, replace(valid, x=valid.x[:, 1:]), QUICK, seed=0)


def test_a_track_in_both_splits_is_refused(task, splits):
    train, valid, _ = splits
    with pytest.raises(UserError, match=r"1 track in training and in validation, e\.g\. 'a3'"):
        fit(task, train, replace(valid, ids=["a3", *valid.ids[1:]]), QUICK, seed=0)


def test_a_diverged_probe_is_recorded_and_the_search_goes_on(task, splits):
    train, valid, _ = splits
    wild = replace(QUICK, standardise=False, learning_rate=1e38, dropout=0, hidden=8)
    results = search(task, train, valid, [wild, QUICK], seed=0)
    assert results[0].probe is None
    assert "lr 1e+38" in results[0].failure
    assert best(results).config == QUICK


def test_the_search_keeps_the_order_of_the_grid_and_chooses_on_validation(task, splits):
    train, valid, _ = splits
    configs = points(hidden=[None, 8], learning_rate=[1e-6, 1e-2], patience=[2])
    assert [(config.hidden, config.learning_rate) for config in configs] == [
        (None, 1e-6),
        (None, 1e-2),
        (8, 1e-6),
        (8, 1e-2),
    ]
    results = search(task, train, valid, configs, seed=0)
    assert [result.config for result in results] == list(configs)
    assert best(results).value == max(result.probe.value for result in results)
    assert best(results).config.learning_rate == 1e-2


def test_validation_that_cannot_be_scored_ends_the_search(splits):
    train, valid, _ = splits
    tagging = Tagging(["never"])
    train, valid = (replace(split, y=np.zeros((len(split.ids), 1), np.float32)) for split in (train, valid))
    with pytest.raises(UserError, match="none of the 1 tags can be scored"):
        search(tagging, train, valid, [QUICK], seed=0)


def test_a_saved_probe_is_used_without_torch():
    modules = "experiments.probes.fitted, experiments.probes.validation, experiments.probes.grids"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_f16_tracks_are_shuffled_whatever_their_order_in_the_files():
    """Files are ordered by folder and artist: a batch is one of the whole corpus, and every step another one."""
    batches = [rng.batch(seed, step, 1000, 100) for seed in (0, 1) for step in range(3)]
    for number, batch in enumerate(batches):
        assert len(set(batch)) == 100
        assert 350 < np.mean(batch) < 650
        assert all(len(set(batch) & set(other)) < 50 for other in batches[:number])
    drawn = np.concatenate([rng.batch(0, step, 100, 10) for step in range(100)])
    assert set(drawn) == set(range(100))


def test_f16_a_probe_of_sorted_tracks_is_as_good(task, splits):
    train, valid, test = splits
    order = np.argsort(train.y, kind="stable")
    ordered = replace(train, x=train.x[order], y=train.y[order], ids=[train.ids[row] for row in order])
    probe = fit(task, ordered, valid, replace(QUICK, batch_size=16), seed=0)
    assert task.score(probe.predict(test), test.y)["accuracy"] > 0.75


def test_f16_the_learning_rate_of_a_probe_is_its_own_and_follows_no_schedule(task, splits, monkeypatch):
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda adam, *given: rates.append(adam.param_groups[0]["lr"]) or step(adam, *given)
    )
    fit(task, *splits[:2], replace(QUICK, learning_rate=0.03, max_steps=20), seed=0)
    assert rates == [0.03] * 20
