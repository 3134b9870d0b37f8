"""Folders of stores of layers: their names, and those that they had before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.layer_folders import as_stored, folder_of, layer_in
from experiments.probes.records import folder_name


@pytest.mark.parametrize(
    ("layer", "folder"),
    [
        (6, "block_06"),
        (12, "block_12"),
        ("layer7", "layer7"),
        ("conv5", "layer_conv5"),
        ("penultimate", "layer_penultimate"),
    ],
)
def test_names(layer, folder):
    assert folder_of(layer) == folder
    assert folder_name(f"net/{folder}") == "net"


@given(st.integers(0, 200) | st.from_regex(r"layer\d{1,2}", fullmatch=True) | st.text("abz_019", min_size=1))
def test_a_folder_says_its_layer(layer):
    assert layer_in(folder_of(layer)) == layer


@pytest.mark.parametrize("folder", ["block_", "block_last", "layer", "layer_", "layers", "mels"])
def test_other_folders_say_none(folder):
    assert layer_in(folder) is None


@pytest.mark.parametrize(("there", "other"), [("layer_layer7", "layer7"), ("layer7", "layer_layer7")])
def test_a_store_is_found_by_its_other_name(tmp_path, there, other):
    (tmp_path / there).mkdir()
    (tmp_path / there / "header.json").touch()
    assert as_stored(tmp_path / other) == as_stored(tmp_path / there) == tmp_path / there
    assert layer_in(there) == "layer7"
    (tmp_path / other).mkdir()
    (tmp_path / other / "header.json").touch()
    assert as_stored(tmp_path / other) == tmp_path / other


@pytest.mark.parametrize("folder", ["layer7", "layer_layer7", "block_06", "mels"])
def test_a_store_that_is_nowhere_keeps_its_name(tmp_path, folder):
    assert as_stored(tmp_path / folder) == tmp_path / folder
