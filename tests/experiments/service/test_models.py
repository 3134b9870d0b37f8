"""What is served, by which names."""

from __future__ import annotations

import pytest

from experiments.errors import UserError
from experiments.service.models import open_models
from experiments.transfer.settings import TransferSettings


def served(tagger, **models: object) -> list[str]:
    settings = {"inference": {"checkpoint": str(tagger)}, "service": {"models": {n: str(f) for n, f in models.items()}}}
    return [model.name for model in open_models(TransferSettings(**settings, trainer={"accelerator": "cpu"}))]


def test_the_model_that_predict_would_take_is_served_beside_those_with_names(tagger):
    assert served(tagger) == ["tags"]
    assert served(tagger, more=tagger, others=tagger) == ["tags", "more", "others"]


def test_two_models_of_one_name_are_refused(tagger):
    with pytest.raises(UserError, match=r"which is called tags too: give it a name, service\.models\.NAME="):
        served(tagger, tags=tagger)
