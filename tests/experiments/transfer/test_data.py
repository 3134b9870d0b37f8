"""Which store of embeddings a probe is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.store import Header, StoreWriter
from experiments.errors import UserError
from experiments.transfer.data import stored
from experiments.transfer.settings import StoredSettings


@pytest.fixture
def folder(tmp_path) -> Path:
    """Stores of two numbered blocks and of a layer with a name."""
    for name, layer in (("block_00", {"block": 0}), ("block_10", {"block": 10}), ("layer_conv", {"layer": "conv"})):
        with StoreWriter(tmp_path / name, Header("embeddings", (1, 4), producer=layer, fingerprint="0")) as writer:
            writer.append("a", np.zeros((2, 1, 4), np.float16))
    return tmp_path


def test_a_block_is_chosen_by_its_number_and_a_layer_by_its_folder(folder):
    assert stored(StoredSettings(store=str(folder), block=10)).block == 10
    assert stored(StoredSettings(store=str(folder / "layer_conv"))).block == "conv"
    with pytest.raises(UserError, match=r"is of layer conv; take it as it is: embeddings.block=None"):
        stored(StoredSettings(store=str(folder / "layer_conv"), block=1))


def test_where_several_layers_lie_together_one_must_be_chosen(folder):
    with pytest.raises(
        UserError, match=r"has the blocks 0, 10; choose one: .* by its folder: embeddings.store=.*_conv"
    ):
        stored(StoredSettings(store=str(folder)))
    with pytest.raises(UserError, match=r"embeddings.block=3: .* has the blocks 0, 10; extract it"):
        stored(StoredSettings(store=str(folder), block=3))


def test_a_folder_of_named_layers_has_no_block_to_choose(folder):
    for number in ("00", "10"):
        (folder / f"block_{number}").rename(folder.parent / number)
    assert stored(StoredSettings(store=str(folder))).block == "conv"
    with pytest.raises(UserError, match=r"embeddings.block=0: .* has no blocks with numbers"):
        stored(StoredSettings(store=str(folder), block=0))
