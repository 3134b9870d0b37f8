"""Settings that contrastive pre-training would not read, or cannot be trained with, are refused with a reason."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from experiments.settings import PretrainSettings
from experiments.transfer.settings import TransferSettings


def contrastive(section: str, **given) -> PretrainSettings:
    values = {section: given, "module": {"objective": "contrastive", **(given if section == "module" else {})}}
    return PretrainSettings(**values)


@pytest.mark.parametrize("name", ["tcn", "spectnt_beats", "spectnt_tcn", "beat_this"])
def test_networks_over_time_are_refused(name):
    with pytest.raises(ValidationError, match=f"contrastive with model.network={name}, whose layers say what happens"):
        contrastive("model", network=name)


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        ("module", {"freeze": "all"}, "module.freeze=all beside module.objective=contrastive: nothing of the network"),
        ("module", {"mixup_alpha": 0.5}, "module.mixup_alpha=0.5 .* which has no labels to mix"),
        ("distillation", {"logits": "store"}, "distillation.logits=store .* which has no teacher"),
        ("datamodule", {"splits": "grouped"}, "datamodule.splits=grouped .* which splits by a table, by folders or by"),
        ("datamodule", {"sampler": {"sampler_replace": True}}, "sampler.sampler_replace=True .* every track once an"),
        ("datamodule", {"sampler": {"balance": "bins"}}, "datamodule.sampler.balance=bins"),
        ("datamodule", {"batch_size_train": 1}, "takes at least 2"),
    ],
)
def test_what_nothing_would_read_is_named(section, given, message):
    with pytest.raises(ValidationError, match=message):
        contrastive(section, **given)


def test_what_is_read_is_taken():
    assert contrastive("datamodule", splits="hashed", sampler={"epoch_len": 500, "balance": "tracks"})
    assert contrastive("module", freeze=2, mixup_alpha=0.0)


def test_pre_training_is_no_transfer():
    for more in ({}, {"model": {"network": "clmr"}}):
        with pytest.raises(ValidationError, match=r"module\.objective=contrastive is for python ex_pretrain.py"):
            TransferSettings(module={"objective": "contrastive"}, **more)
