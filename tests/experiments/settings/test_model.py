"""Settings of a network are the arguments of its constructor, whosever network it is."""

from __future__ import annotations

import copy
import inspect
import sys

import pytest

from experiments.configs.catalogue import PRETRAIN, TRANSFER
from experiments.errors import UserError
from experiments.settings import PretrainSettings
from experiments.settings.model import ModelSettings
from experiments.tracking import overrides, schema
from experiments.tracking.overrides import Composition
from experiments.transfer.settings import TransferSettings
from models import networks
from models.maest import MAEST

OWN = '''
"""A network outside of the project."""
from typing import Literal
from models.network import Network

class Tiny(Network):
    """A toy.

    Args:
        n_classes: Outputs.
        width: Hidden values.
        norm: Which norm.
    """
    layer_names = ("hidden",)

    def __init__(self, n_classes: int, width: int = 8, norm: Literal["batch", "layer"] = "batch") -> None:
        super().__init__()

class Bare(Network):
    def __init__(self, n_classes: int, width=8) -> None:
        super().__init__()
'''
NAME = "own_networks_of_a_test"
TINY = f"model.network={NAME}:Tiny"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A working directory with a module of the user."""
    (tmp_path / f"{NAME}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop(NAME, None)


def pretrain(*words: str) -> Composition[PretrainSettings]:
    return overrides.compose(PretrainSettings, PRETRAIN, words)


def transfer(*words: str) -> Composition[TransferSettings]:
    return overrides.compose(TransferSettings, TRANSFER, words)


def test_the_keys_are_the_arguments_of_the_constructor():
    model = PretrainSettings().model
    arguments = inspect.signature(MAEST).parameters
    assert list(model.arguments) == [name for name in arguments if name not in MAEST.derived]
    assert not set(ModelSettings.model_fields) & set(model.arguments)
    assert {"mlp_ratio", "dropout", "attention_dropout", "stochastic_depth"} < set(model.arguments)
    said = schema.descriptions(PretrainSettings.following("maest"))
    assert all(said[f"model.{name}"] for name in model.arguments)


@pytest.mark.parametrize("name", networks.names())
def test_every_network_of_the_project_can_be_set(name):
    found = pretrain(f"model.network={name}")
    texts = schema.descriptions(found.schema)
    assert [key for key in found.settings.model.arguments if f"model.{key}" not in texts] == []
    for key, value in found.settings.model.arguments.items():
        assert pretrain(f"model.network={name}", f"model.{key}={value}").settings == found.settings


def test_a_network_of_the_user_brings_its_own(own):
    found = pretrain(TINY, "model.width=16")
    assert found.settings.model.arguments == {"width": 16, "norm": "batch"}
    assert found.settings.model.allowed == {NAME}
    assert found.settings.model.words == (TINY,)
    assert pretrain(f"model={{'network': '{NAME}:Tiny', 'width': 16}}").settings == found.settings
    assert found.delta == {"model.network": f"{NAME}:Tiny", "model.width": 16}
    assert schema.descriptions(found.schema)["model.width"] == "Hidden values"
    assert copy.copy(found.settings.model) == found.settings.model
    restore, parts = found.settings.model.__reduce__()  # as processes of a pool do
    assert restore(*parts) == found.settings.model
    assert transfer("mine", TINY, "debug").settings.model.arguments == {"width": 8, "norm": "batch"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.wdith=3"], "no setting 'model.wdith': did you mean model.width?"),
        (["model.norm=group"], "model.norm=group: should be 'batch' or 'layer'"),
        (["model.stride_f=5"], f"no setting 'model.stride_f': it belongs to maest, and the network is {NAME}:Tiny"),
        (["maest_10s_pretrain"], "no setting 'model.s_patchout_t': it belongs to maest"),
    ],
)
def test_a_key_of_another_network_is_an_error_that_says_whose_it_is(own, words, message):
    with pytest.raises(UserError) as caught:
        pretrain(TINY, *words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("meast", "did you mean 'maest'?"),
        (f"{NAME}:Tny", "Tiny"),
        (f"{NAME}:Bare", f"{NAME}:Bare: its argument width has no annotation"),
        ("no_such_module:Net", "there is no module no_such_module"),
        ("json:JSONDecoder", "is no subclass of"),
        ("maest model.frontend=musicn", "unknown front end 'musicn'; did you mean 'musicnn'?"),
    ],
)
def test_a_network_that_cannot_be_had_is_an_error_before_anything_is_made(own, network, message):
    with pytest.raises(UserError) as caught:
        pretrain(*f"model.network={network}".split())
    assert message in str(caught.value)


def test_values_are_checked_as_the_constructor_wants_them():
    for words, message in {
        "model.dim=0": "model.dim=0: should be greater than 0",
        "model.dropout=1": "model.dropout=1: should be less than 1",
        "model.distilled_type=both": "should be 'mean' or 'separated'",
        "model.heads=7": "dim=768 is not divisible by heads=7",
    }.items():
        with pytest.raises(UserError) as caught:
            pretrain(words)
        assert message in str(caught.value)


def test_a_layer_is_named_once():
    with pytest.raises(UserError, match="layer=block_03 and transformer_block=2: give one, the other None"):
        pretrain("maest_10s_pretrain", "demo", "inference.layer=block_03")
    given = pretrain("demo", "inference.layer=[block_02,block_03]", "inference.transformer_block=None").settings
    assert given.inference.layer == ["block_02", "block_03"]


def test_augmentations_as_a_list_replace_the_settings_of_single_ones():
    steps = "module.augmentations=[{'name': 'mixup', 'alpha': 0.3}]"
    assert pretrain(steps).settings.module.augmentations == [{"name": "mixup", "alpha": 0.3}]
    with pytest.raises(UserError, match=r"datamodule\.roll\.do=True beside module\.augmentations"):
        pretrain(steps, "datamodule.roll.do=True")


def test_transfer_has_a_network_only_where_one_is_named():
    assert transfer().settings.model.arguments == {}
    assert transfer("model.network=maest", "demo").settings.model.dim == 128
    with pytest.raises(UserError, match=r"it belongs to maest, and no network is named: model\.network=NAME"):
        transfer("model.s_patchout_f=3")
    with pytest.raises(UserError, match="train a probe on the one, or the other from audio"):
        transfer("model.network=maest", "embeddings.store=there")
    with pytest.raises(UserError, match="clip_length is about windows of audio, and no network is named"):
        transfer("datamodule.clip_length=3")


def test_settings_of_transfer_are_settings_of_the_training():
    given = transfer("mine", "model.network=maest", "trainer.max_epochs=12").settings
    training = given.as_pretraining()
    assert isinstance(training, PretrainSettings)
    assert (training.model, training.trainer) == (given.model, given.trainer)
    unnamed = transfer("inference.checkpoint=best.ckpt", "model.frontend=musicnn").settings.as_pretraining().model
    assert unnamed == PretrainSettings(model={"frontend": "musicnn"}).model
    assert (training.module.optimizer.warm_up_len, training.module.optimizer.ramp_down_len) == (2, 10)
