"""A command computes with the kernels of its settings, and its run says which those were."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from experiments.arithmetic import arithmetic
from experiments.errors import UserError
from experiments.settings import PretrainSettings, ProbeExperimentSettings
from models.kernels import choices
from models.kernels.mode import enabled


@pytest.mark.parametrize("script", [PretrainSettings, ProbeExperimentSettings])
@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_they_are_those_of_the_settings_and_recorded(script, kernels, tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    monkeypatch.delenv("OSTINATO_KERNELS", raising=False)
    monkeypatch.setattr(choices, "_chosen", {"product-7threads": "onednn", "sum-7threads": "torch"})
    found = {}
    settings = script(inference={"kernels": kernels})
    with arithmetic(settings, SimpleNamespace(set_info=found.update)):
        assert enabled() is (kernels == "auto")
    assert enabled()
    chosen = {"product-7threads": "onednn", "sum-7threads": "torch"} if kernels == "auto" else {}
    assert found == {"kernels": {"mode": kernels, "chosen": chosen}}


def test_they_are_recorded_where_a_command_fails():
    found = {}
    with (
        pytest.raises(ZeroDivisionError),
        arithmetic(PretrainSettings(), SimpleNamespace(set_info=found.update)),
    ):
        _ = torch.get_num_threads() / 0
    assert "kernels" in found


def test_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match="auto"):
        PretrainSettings(inference={"kernels": "mkl"})


def test_an_unknown_one_of_the_environment_is_refused_before_anything_is_computed(monkeypatch):
    monkeypatch.setenv("OSTINATO_KERNELS", "mkl")
    with (
        pytest.raises(UserError, match="OSTINATO_KERNELS=mkl: expected auto or torch"),
        arithmetic(PretrainSettings(), SimpleNamespace(set_info=None)),
    ):
        pytest.fail("computed")
    monkeypatch.setenv("OSTINATO_KERNELS", "")
    assert enabled()
