"""CLMR's chains: what their named configs say, and that they run on audio."""

from __future__ import annotations

import pytest
import torch

from experiments.configs.catalogue import PRETRAIN
from experiments.configs.clmr_chain import CHAIN, CHAIN_V1
from experiments.settings import PretrainSettings
from experiments.tracking import overrides
from models.augment import Chain

NAMES = ["polarity", "noise", "gain", "high_low_pass", "delay", "pitch", "reverb"]


def test_the_chains_differ_where_the_versions_do():
    assert [step["name"] for step in CHAIN] == NAMES
    assert [step["name"] for step in CHAIN_V1] == [name for name in NAMES if name != "noise"]
    one, two = ({step["name"]: step for step in chain} for chain in (CHAIN_V1, CHAIN))
    assert {name for name in one if one[name] != two[name]} == {"gain", "delay", "reverb"}
    assert [chain["delay"]["factor"] for chain in (one, two)] == [0.2, 0.5]


@pytest.mark.parametrize(("name", "chain"), [("clmr_augmentations_v2", CHAIN), ("clmr_augmentations_v1", CHAIN_V1)])
def test_they_compose_with_a_system(name, chain):
    settings = overrides.compose(PretrainSettings, PRETRAIN, [name, "model.network=samplecnn"]).settings
    assert settings.module.augmentations == [dict(step) for step in chain]


@pytest.mark.parametrize("chain", [CHAIN, CHAIN_V1], ids=["v2", "v1"])
@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_two_views_of_a_batch(chain, rate):
    torch.manual_seed(0)
    views = (0.3 * torch.randn(4, 20_000)).repeat(2, 1)
    changed = Chain.build(chain, audio=True, sample_rate=rate).waveforms(views)
    assert changed.shape == views.shape
    assert torch.isfinite(changed).all()
    assert (changed[:4] != changed[4:]).any(1).all()
    assert float(changed.std()) > 0.02
