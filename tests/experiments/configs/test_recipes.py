"""Recipes: each sets the same keys, lies over a system wherever it stands, and is what it says."""

from __future__ import annotations

import pytest

from experiments.configs import recipes
from experiments.configs.catalogue import PRETRAIN, TRANSFER
from experiments.configs.cnn14 import AUGMENTED as CNN14
from experiments.configs.spectnt import RECIPE as SPECTNT
from experiments.settings import PretrainSettings
from experiments.tasks import build
from experiments.tracking import overrides
from experiments.training.monitoring import monitored
from experiments.training.phases import phases, starts
from experiments.transfer.settings import TransferSettings

NAMES = ("recipe_ap", "recipe_won", "recipe_plateau")
SYSTEMS = [
    name
    for name, config in TRANSFER.items()
    if config.system and name.endswith("_mtt") and "network" in config.values["model"]
]
AS_PUBLISHED = ("samplecnn_supervised_mtt",)  # chosen by its loss


NETWORKS = [
    name
    for name, config in TRANSFER.items()
    if "network" in config.values.get("model", {}) and "optimizer" in config.values.get("module", {})
]


def composed(*words: str):
    return overrides.compose(TransferSettings, TRANSFER, words).settings


def keys(name: str) -> set[str]:
    return {key for key, _ in overrides.flat(TRANSFER[name].values)} - {"seed"}


def test_each_sets_the_same_keys():
    assert keys("recipe_ap") == keys("recipe_won") == keys("recipe_plateau")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("system", SYSTEMS)
def test_it_lies_over_a_tagger_wherever_it_stands(system, name):
    given = composed(system, name)
    assert given == composed(name, system)
    chosen = dict(overrides.flat(given.model_dump()))
    wanted = dict(overrides.flat(TRANSFER[name].values))
    assert len(given.module.phases) == len(wanted.pop("module.phases"))
    assert wanted.items() <= chosen.items()


@pytest.mark.parametrize("name", NAMES)
def test_one_over_another_leaves_nothing_of_it(name):
    for other in NAMES:
        over, alone = composed("fcn", other, name), composed("fcn", name)
        assert over.model_copy(update={"seed": alone.seed}) == alone


def test_ours_is_the_default_of_a_tagger():
    given = composed("fcn_mtt")
    assert given == composed("fcn_mtt", "recipe_ap")
    assert (given.trainer.monitor, given.trainer.precision) == ("metric", "auto")
    assert monitored("metric", build("tagging", classes=["a", "b"])) == "val/ap"
    assert monitored("metric", build("genre", classes=["a", "b"])) == "val/accuracy"


@pytest.mark.parametrize("system", [name for name in SYSTEMS if name not in AS_PUBLISHED])
def test_every_tagger_is_chosen_by_the_metric(system):
    trainer = composed(system).trainer
    assert (trainer.monitor, trainer.precision) == ("metric", "auto")


@pytest.mark.parametrize("system", NETWORKS)
def test_every_network_trains_in_fewer_bits_where_there_is_a_gpu(system):
    assert composed(system).trainer.precision == "auto"


def test_what_a_tagger_has_of_its_own_leaves_the_rest_as_usual():
    usual = dict(overrides.flat(composed("fcn_mtt").model_dump()))
    own = {
        "spectnt_mtt": {"trainer.max_epochs": 100, "trainer.early_stopping": None, "trainer.gradient_clip_val": 1.0}
        | {f"module.optimizer.{key}": value for key, value in SPECTNT["module"]["optimizer"].items()},
        "cnn14_mtt": {"module.mixup_alpha": 1.0}
        | {f"datamodule.masking.{key}": value for key, value in CNN14["datamodule"]["masking"].items()},
    }
    for system, wanted in own.items():
        given = dict(overrides.flat(composed(system).model_dump()))
        other = {key: value for key, value in given.items() if key in usual and usual[key] != value}
        corpus = ("model.", "datamodule.base_dir", "datamodule.groundtruth")
        assert {key: value for key, value in other.items() if not key.startswith(corpus)} == {
            key: value for key, value in wanted.items() if usual[key] != value
        }
        assert wanted.items() <= given.items()


def test_the_published_weights_were_trained_in_four_phases():
    given = composed("fcn_mtt", "recipe_won")
    chosen = phases(given.module)
    assert [phase.optimizer.kind for phase in chosen] == ["adam", "sgd", "sgd", "sgd"]
    assert [phase.optimizer.lr for phase in chosen] == [1e-4, 1e-3, 1e-4, 1e-5]
    assert {phase.optimizer.weight_decay for phase in chosen} == {1e-4}
    assert [phase.from_best for phase in chosen] == [False, True, True, True]
    assert all(phase.optimizer.nesterov and phase.optimizer.momentum == 0.9 for phase in chosen[1:])
    assert starts(chosen) == [0, 80, 100, 120]
    assert sum(phase.epochs for phase in chosen) == given.trainer.max_epochs == 200
    assert (given.trainer.monitor, given.trainer.early_stopping, given.datamodule.batch_size_train) == (None, None, 16)


def test_plateaus_of_the_validation_loss_and_seed_42():
    given = composed("fcn_mtt", "recipe_plateau")
    optimizer = given.module.optimizer
    assert (optimizer.kind, optimizer.lr, optimizer.momentum, optimizer.nesterov) == ("sgd", 1e-2, 0.9, True)
    assert (optimizer.weight_decay, optimizer.schedule_mode) == (1e-6, "plateau")
    assert (optimizer.plateau_factor, optimizer.plateau_patience) == (0.2, 3)
    assert (given.trainer.monitor, given.trainer.early_stopping, given.trainer.max_epochs) == (None, 5, 100)
    assert (given.seed, given.module.phases, given.datamodule.batch_size_train) == (42, [], 16)


@pytest.mark.parametrize("name", NAMES)
def test_the_small_sizes_are_one_phase_short(name):
    for scale, epochs in (("demo", 10), ("debug", 2)):
        given = composed("fcn", name, scale)
        assert given.module.phases == []
        assert given.trainer.max_epochs == epochs
    assert composed("fcn", name, "demo").module.optimizer.kind == "adam"


def test_augmentation_goes_with_any_recipe():
    plain = composed("fcn", "recipe_won")
    assert (plain.module.mixup_alpha, plain.datamodule.masking.do) == (0, False)
    given = composed("fcn", "recipe_won", "recipe_augmented")
    assert given == composed("recipe_augmented", "fcn", "recipe_won")
    assert (given.module.mixup_alpha, given.datamodule.masking.do, len(given.module.phases)) == (0.4, True, 4)


def test_ex_pretrain_has_them_too():
    assert recipes.RECIPES.keys() <= PRETRAIN.keys()
    words = ("maest_5s_random_weights_pretrain", "recipe_won")
    given = overrides.compose(PretrainSettings, PRETRAIN, words).settings
    assert len(given.module.phases) == 4
    assert given.module.optimizer.kind == "adam"
