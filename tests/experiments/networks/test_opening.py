"""Layers that settings name, by name or by number."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from experiments.errors import UserError
from experiments.networks.opening import layers_of
from experiments.settings import InferenceSettings


def encoder(*layers: str) -> SimpleNamespace:
    network = SimpleNamespace(name="mine", layer_names=layers)
    return SimpleNamespace(network=network, layers=lambda names: [names] if isinstance(names, str) else names)


def test_any_network_whose_layers_are_called_so_has_numbered_blocks():
    mine = encoder("stem", "block_00", "block_01")
    assert layers_of(InferenceSettings(transformer_block=[1, 0]), mine) == ["block_01", "block_00"]
    assert layers_of(InferenceSettings(layer="stem"), mine) == ["stem"]
    with pytest.raises(UserError, match=r"transformer_block=2: this network has the blocks 0 to 1"):
        layers_of(InferenceSettings(transformer_block=2), mine)


def test_blocks_of_a_network_that_has_none_are_refused_with_its_layers():
    with pytest.raises(UserError, match=r"mine has no blocks, but the layers stem, head; .*inference\.layer=NAME"):
        layers_of(InferenceSettings(transformer_block=0), encoder("stem", "head"))
