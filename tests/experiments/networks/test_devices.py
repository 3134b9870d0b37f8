"""Devices that are not there, and arithmetic that they do not have, are named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from experiments.errors import UserError
from experiments.networks import devices
from experiments.networks.devices import check_accelerator
from experiments.settings import TrainerSettings


def test_an_accelerator_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"trainer\.accelerator=cuda: there is none here"):
        check_accelerator(TrainerSettings(accelerator="cuda"))
    with pytest.raises(UserError, match=r"trainer\.precision=16-mixed: float16 is not for a CPU; set bf16-mixed"):
        check_accelerator(TrainerSettings(accelerator="cpu", precision="16-mixed"))
    check_accelerator(SimpleNamespace(accelerator="auto", devices=2, precision="auto"))


@pytest.mark.parametrize("able", [True, False, None])
def test_bfloat16_on_a_processor_without_it_is_said_to_be_slow(monkeypatch, capsys, able):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "has_bfloat16", lambda: able)
    check_accelerator(TrainerSettings(accelerator="cpu", precision="bf16-mixed"))
    check_accelerator(TrainerSettings(accelerator="cpu"))
    assert ("no bfloat16 products" in capsys.readouterr().err) is (able is False)
