"""Phases: each with its optimiser, from the last or the best weights; a training that goes on does so in its phase."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from experiments.errors import UserError
from experiments.settings import ModuleSettings
from experiments.training.phases import phases, starts, total_epochs

PHASES = [
    {"optimizer": "adam", "lr": 1e-2, "weight_decay": 1e-4, "epochs": 2},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 0.3, "epochs": 2, "start_from": "best"},
    {"lr": 1e-3, "schedule_mode": "exp_lin", "epochs": 2},
]
KEPT = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "phase")


@pytest.fixture(scope="module")
def small():
    """The module `ex_continued`."""
    spec = importlib.util.spec_from_file_location("ex_phases", Path(__file__).with_name("ex_continued.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def store(small, tmp_path_factory):
    return small.make_store(tmp_path_factory.mktemp("features"))


def sections(module=None, **trainer):
    return {
        "trainer": {"max_epochs": 6, "checkpoint_every_n_steps": 1, **trainer},
        "module": {"do_swa": False, **({"phases": PHASES} if module is None else module)},
    }


def stop():
    raise RuntimeError("killed")


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(first, second):
    for key in KEPT:
        if key == "lr_schedulers":
            assert first[key] == second[key]
        else:
            torch.testing.assert_close(first.get(key), second.get(key), rtol=0, atol=0)


@pytest.fixture(scope="module")
def whole(small, store, tmp_path_factory):
    """A training in three phases that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    small.train(store, folder, **sections())
    return folder


def test_the_settings_are_data():
    chosen = phases(ModuleSettings(phases=PHASES, optimizer={"weight_decay": 0.5}))
    assert [phase.optimizer.kind for phase in chosen] == ["adam", "sgd", "adamw"]
    assert [phase.optimizer.weight_decay for phase in chosen] == [1e-4, 0.5, 0.5]
    assert [phase.optimizer.schedule_mode for phase in chosen] == ["constant", "constant", "exp_lin"]
    assert [phase.from_best for phase in chosen] == [False, True, False]
    assert starts(chosen) == [0, 2, 4]
    (whole,) = phases(ModuleSettings())
    assert (whole.epochs, whole.optimizer) == (None, ModuleSettings().optimizer)


def test_a_training_ends_with_its_phases_or_is_cut_with_a_word(capsys):
    chosen = phases(ModuleSettings(phases=PHASES))
    assert total_epochs(chosen, 100) == 6
    assert not capsys.readouterr().err
    assert total_epochs(chosen, 3) == 3
    assert "6 epochs, trainer.max_epochs=3 ends the training in phase 2 of 3" in capsys.readouterr().err
    assert total_epochs(phases(ModuleSettings()), 100) == 100


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([{"epochs": 1, "start_from": "best"}], "the first one has no best checkpoint"),
        ([{"epochs": 1, "optimizer": "adam", "nesterov": True}], "nesterov=True is for name=sgd"),
        ([{"optimizer": "adam"}], "epochs"),
        ([{"epochs": 1, "optimizer": "adams"}], "'adamw', 'adam', 'sgd' or 'lars'"),
    ],
)
def test_impossible_phases_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        ModuleSettings(phases=wrong)


def test_each_phase_has_its_optimiser_and_its_rate(whole, small, store, tmp_path):
    rates, kinds, weights = {}, {}, {}

    class Watch(small.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if batch_idx == 0:
                epoch = trainer.current_epoch
                rates[epoch] = trainer.optimizers[0].param_groups[0]["lr"]
                kinds[epoch] = type(trainer.optimizers[0]).__name__
                weights[epoch] = module.net.head[1].weight.detach().clone()

        def on_validation_end(self, trainer, module):
            weights[f"after {trainer.current_epoch}"] = module.net.head[1].weight.detach().clone()

    trainer, learner, clips, curves = small.make(store, tmp_path, **sections())
    trainer.callbacks.append(Watch())
    trainer.fit(learner, clips)
    assert list(kinds.values()) == ["Adam", "Adam", "SGD", "SGD", "AdamW", "AdamW"]
    exp_lin = [1e-3 * 0.0174, 1e-3 * 0.0408]  # counted from the beginning of the phase, of 2 epochs of 5
    assert list(rates.values())[:4] == [1e-2, 1e-2, 0.3, 0.3]
    assert rates[4] < rates[5] < 1e-3
    assert exp_lin[0] < rates[4]
    losses = [value for _, value in curves.series["val/loss"]]
    best = min((0, 1), key=losses.__getitem__)
    assert torch.equal(weights[2], weights[f"after {best}"])
    assert torch.equal(weights[4], weights["after 3"])
    assert not list((tmp_path / "checkpoints").glob("phase_*"))
    assert_same(last(tmp_path), last(whole))


@pytest.mark.parametrize(
    "at",
    [
        ("on_train_batch_start", 4),  # in the first phase
        ("on_train_batch_start", 14),  # in the middle of the second phase
        ("on_train_batch_start", 13),  # before its first step
        ("on_save_checkpoint", 17),
        ("on_train_batch_start", 25),  # before the first step of the third
        ("on_train_batch_start", 28),
        ("on_validation_start", 3),  # the best checkpoint is of the first phase
    ],
)
def test_a_training_interrupted_in_a_later_phase_equals_one_that_was_not(at, small, store, whole, tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        small.train(store, tmp_path / "run", at=small.At(*at, stop), **sections())
    resume = tmp_path / "run" / "checkpoints" / "last.ckpt"
    small.train(store, tmp_path / "run", resume=str(resume), **sections())
    assert_same(last(tmp_path / "run"), last(whole))


def test_a_best_checkpoint_that_is_too_new_is_not_where_a_phase_begins(small, store, whole, tmp_path):
    """Killed after the validation of the first epoch of a phase, with a last checkpoint of the epoch before."""
    often = sections(checkpoint_every_n_steps=None)
    with pytest.raises(RuntimeError, match="killed"):
        small.train(store, tmp_path / "run", at=small.At("on_validation_end", 3, stop), **often)
    folder = tmp_path / "run" / "checkpoints"
    assert last(tmp_path / "run")["phase"] == 0
    assert (folder / "phase_2.ckpt").is_file()
    content = torch.load(folder / "best.ckpt", weights_only=True)
    torch.save({**content, "global_step": 10**6, "state_dict": {}}, folder / "best.ckpt")  # as if of the phase
    small.train(store, tmp_path / "run", resume=str(folder / "last.ckpt"), **often)
    assert_same(last(tmp_path / "run"), last(whole))


def test_without_a_validation_there_is_no_best(small, store, tmp_path):
    with pytest.raises(UserError, match="no epoch before it was validated"):
        small.train(store, tmp_path, **sections(check_val_every_n_epoch=3))


@pytest.mark.parametrize("monitor", [None, "roc_auc"])
def test_a_plateau_lowers_the_rate_in_a_training_that_goes_on_too(monitor, small, store, tmp_path):
    optimizer = {"schedule_mode": "plateau", "plateau_patience": 0, "plateau_factor": 0.5, "lr": 0.3}
    given = sections({"optimizer": optimizer}, monitor=monitor)
    curves = small.train(store, tmp_path / "whole", **given)
    alone = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    mode = "max" if monitor else "min"
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(alone, mode, factor=0.5, patience=0, min_lr=0.003)
    for _, value in curves.series[f"val/{monitor or 'loss'}"]:
        rule.step(value)
    rate = last(tmp_path / "whole")["optimizer_states"][0]["param_groups"][0]["lr"]
    assert rate == pytest.approx(alone.param_groups[0]["lr"])
    assert rate < 0.3
    with pytest.raises(RuntimeError, match="killed"):
        small.train(store, tmp_path / "run", at=small.At("on_train_epoch_start", 4, stop), **given)
    small.train(store, tmp_path / "run", resume=str(tmp_path / "run" / "checkpoints" / "last.ckpt"), **given)
    assert_same(last(tmp_path / "run"), last(tmp_path / "whole"))


def test_early_stopping_ends_a_training_that_gets_no_better(small, store, tmp_path):
    settings = sections({"optimizer": {"lr": 1e-9, "warm_up_len": 1}}, early_stopping=2, max_epochs=50)
    curves = small.train(store, tmp_path, **settings)
    assert 3 <= len(curves.series["val/loss"]) < 50


def test_the_monitored_value_decides_which_epoch_is_best(small, store, tmp_path):
    settings = sections({"optimizer": {"lr": 1e-2, "warm_up_len": 1}}, monitor="ap")
    curves = small.train(store, tmp_path, **settings)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    values = [value for _, value in curves.series["val/ap"]]
    assert best["epoch"] == values.index(max(values))


def test_a_value_that_no_validation_gives_is_named(small, store, tmp_path):
    with pytest.raises(UserError, match=r"trainer\.monitor=app: the validation gave no app, only ap, loss, roc_auc"):
        small.train(store, tmp_path, **sections({}, monitor="app"))
