"""Layers in the order of their network, and the score by layer."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.store import Header, Store, StoreWriter
from experiments.probes.layers import by_number, in_order, layer_picture
from experiments.probes.records import Score, layer_name
from experiments.probes.representations import layers_in
from experiments.probes.rows import Row
from models.musicnn_original import MusicnnOriginal
from models.tune import TUNe
from models.tune_hybrid import TUNeHybrid

NAN = float("nan")


def store(folder, layer: str, **producer) -> Store:
    with StoreWriter(
        folder, Header("embeddings", (1, 2), producer={"layer": layer, **producer}, fingerprint=layer)
    ) as to:
        to.append("a", np.zeros((1, 1, 2), np.float16))
    return Store(folder)


@pytest.mark.parametrize(("layer", "said"), [(6, "block 6"), ("conv5", "layer conv5"), ("layer1", "layer1"), ("", "")])
def test_a_layer_in_words_is_called_so_once(layer, said):
    assert layer_name(layer) == said


def row(layer: int | str, value: float, encoder: str = "embeddings") -> Row:
    score = Score("genre", "corpus", encoder, "probe", "accuracy", value, NAN, NAN, [value], 9, "", "", block=layer)
    nothing = np.zeros(0)
    return Row(f"{encoder} {layer}", score, [], nothing, nothing, nothing, {"accuracy": (value, value / 2, 1.0)})


def test_numbers_count_where_the_network_is_not_known(tmp_path):
    for name in ("layer_conv10", "layer_conv2", "block_03", "layer_end"):
        store(tmp_path / name, name)
    assert list(layers_in(tmp_path)) == [3, "conv2", "conv10", "end"]
    assert by_number(12) < by_number("conv1")


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        (MusicnnOriginal, {}),
        (TUNe, {"width": 2, "tail": [4, 8, 8], "size": 8}),
        (TUNeHybrid, {"width": 2, "channels": [4] * 11}),
    ],
)
def test_layers_come_in_the_order_of_their_network(tmp_path, network, arguments):
    names = network(**arguments).layer_names
    made = {"class": network.name, "network": arguments}
    stores = [store(tmp_path / f"layer_{name}", name, **made) for name in sorted(names, reverse=True)]
    assert [one.header.producer["layer"] for one in in_order(stores)] == list(names)
    own = [store(tmp_path / f"own_{name}", name, **{**made, "class": "mine:Own"}) for name in ("b", "a")]
    assert in_order(own) == own


def test_the_picture_has_a_line_an_encoder_and_dotted_ones_for_what_has_no_layers(tmp_path, axes):
    rows = [*(row(f"conv{number}", number / 10) for number in (1, 2, 3)), row("", 0.15, "majority")]
    assert layer_picture(rows, tmp_path / "layers.png", "genre", "tracks") == tmp_path / "layers.png"
    (axis,) = axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [10, 20, 30])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["conv1", "conv2", "conv3"]
    assert axis.lines[1].get_ydata()[0] == pytest.approx(15)


def test_two_layers_are_no_picture(tmp_path):
    assert layer_picture([row(1, 0.5), row(2, 0.5)], tmp_path / "layers.png", "x", "tracks") is None
