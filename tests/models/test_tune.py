"""TUNe, TUNe+ and the ablations of the paper against their definitions: sizes, names, taps, published weights."""

from __future__ import annotations

import copy

import pytest
import torch

from models.tune import TUNe
from models.tune_variants import VARIANTS, doubling, tailed
from tests.models import contrastive_files as files
from tests.models.taggers import with_statistics

SMALL = {"width": 2, "tail": (4, 8, 8), "size": 8}
WITH_50_CLASSES = {
    "vanilla": 2_366_046,
    "vanilla_xs": 364_908,
    "contractive_1": 2_284_350,
    "contractive_2": 2_144_256,
    "contractive_3": 1_656_394,
    "expansive_1": 2_344_898,
    "expansive_2": 2_381_496,
    "expansive_3": 2_344_426,
    "tail_1": 2_321_562,
    "tail_2": 2_258_508,
    "tail_3": 2_266_836,
    "tail_4": 2_315_784,
    "tail_5": 2_122_620,
    "plus": 2_246_040,
    "xl": 4_387_116,
    "plus_xl": 7_432_782,
    "size_32": 248_256,
    "size_64": 335_392,
    "size_128": 588_936,
    "size_256": 1_436_296,
    "size_1024": 9_820_024,
}
OF_28 = [  # the same with 28 channels at first
    (1_675_098, {"tail": doubling(28)}),
    *(
        (count, {"levels_down": 4 + more, "levels_up": 4 + more, "tail": doubling(28)})
        for more, count in ((1, 5_292_250), (2, 19_751_898), (3, 77_572_570))
    ),
    *(
        (count, {"levels_up": 4 - fewer, "tail": doubling(28)[fewer:]})
        for fewer, count in ((1, 1_660_706), (2, 1_603_698), (3, 1_376_786))
    ),
    *(
        (count, tailed(longer, 28, 512))
        for longer, count in ((1, 2_321_562), (2, 3_109_530), (3, 3_897_498), (4, 4_685_466), (5, 5_473_434))
    ),
    (6_273_114, {**tailed(5, 28, 512), "connections": True}),
]
# Tap of the paper -> block, values.
TAPS = {
    0: ("convDown9", 512),
    **{tap: (f"convDown{9 - tap}", 352) for tap in range(1, 5)},
    **{tap: (f"convDown{9 - tap}", values) for tap, values in zip(range(5, 9), (176, 88, 44, 22), strict=True)},
    **{
        tap: (f"conv{18 - tap}", values)
        for tap, values in zip(range(9, 18), (11, 22, 44, 88, 176, 88, 44, 22, 11), strict=True)
    },
}


def audio(samples: int = 59_049, batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(1))


def size(**arguments) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in TUNe(**arguments).parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_every_ablation_of_the_paper_has_as_many_parameters_as_there(name):
    assert size(**VARIANTS[name]) == WITH_50_CLASSES[name]


@pytest.mark.parametrize(("count", "arguments"), OF_28)
def test_ablations_at_a_width_of_28_do_so_too(count, arguments):
    assert size(**{"width": 28, **arguments}) == count


@pytest.mark.parametrize(
    ("connections", "encoder", "with_classes", "millions"),
    [(False, 2_096_970, 2_122_620, 648.0), (True, 2_220_390, 2_246_040, 833.2)],
)
def test_tune_and_tune_plus_have_the_size_of_the_publication(connections, encoder, with_classes, millions):
    network = TUNe(n_classes=0, connections=connections)
    assert (size(n_classes=0, connections=connections), size(connections=connections)) == (encoder, with_classes)
    assert network.macs((59_049,)) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("plus", [False, True])
def test_names_and_shapes_are_the_published_ones(plus):
    state = TUNe(connections=plus).state_dict()
    expected = {**files.tune(plus), "fc.weight": torch.empty(50, 512), "fc.bias": torch.empty(50)}
    assert len(state) == 136
    assert {key: tensor.shape for key, tensor in state.items()} == {key: expected[key].shape for key in expected}


@pytest.mark.parametrize("plus", [False, True])
def test_every_tap_of_published_weights_gives_what_the_published_layers_give(plus):
    state = files.tune(plus)
    arguments, own, _ = TUNe.from_published(state)
    network = TUNe(**arguments).eval()
    network.load_state_dict(own)
    layers = [name for name, _ in TAPS.values()]
    assert sorted(layers) == sorted(network.layer_names)
    with torch.no_grad():
        expected = files.tune_by_definition(state, audio())
        together = network.embed(audio(), layers)
        assert network.prepared().embed(audio(), ["convDown9"])["convDown9"].sub(
            together["convDown9"]
        ).abs().max() < 1e-4  # fmt: skip
        for name, values in TAPS.values():
            assert together[name].shape == (2, 1, values)
            assert (together[name][:, 0] - expected[name].mean(2)).abs().max() < 1e-4
            assert torch.equal(network.embed(audio(), [name])[name], together[name])
    assert (together["convDown9"] >= 0).all()
    assert together["convDown9"].std() > 0.1


@pytest.mark.parametrize("shape", [(1, 59_048), (1, 59_050), (1, 118_098), (1, 1, 59_049)])
def test_any_other_length_or_channel_is_refused_with_the_one_that_is_expected(shape):
    with pytest.raises(ValueError, match=r"expected \[batch, 59049\]"):
        TUNe(**SMALL)(torch.zeros(shape))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_ablation_runs_and_its_connections_are_of_one_length(name):
    arguments = {"width": 1, **{key: value for key, value in VARIANTS[name].items() if key != "width"}}
    arguments["tail"] = [1 + wide // 64 for wide in arguments["tail"]]
    network = TUNe(n_classes=3, **{**arguments, "size": 4}).eval()
    with torch.no_grad():
        assert network(audio(batch=1)).shape == (1, 3)


def test_what_is_trained_has_the_gradients_of_the_definition():
    """Pooling before ReLU, and outputs that are let go, change nothing."""
    torch.manual_seed(0)
    network = with_statistics(TUNe(n_classes=2, connections=True))
    network.embed(audio(batch=1), ["conv8", "convDown9"])["convDown9"].square().sum().backward()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    leaves = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    for name in leaves:
        state[name].requires_grad_()
    files.tune_by_definition(state, audio(batch=1))["convDown9"].mean(2).square().sum().backward()
    assert len(leaves) == 4 * 18 + 2 * 4
    for name in leaves:
        torch.testing.assert_close(network.get_parameter(name).grad, state[name].grad, rtol=1e-2, atol=1e-3)


def test_initial_weights_are_those_of_the_publication():
    torch.manual_seed(0)
    network = TUNe()
    for name, parameter in network.named_parameters():
        if name.endswith("layers.0.weight"):
            limit = (6 / parameter[0].numel()) ** 0.5  # Kaiming, uniform, by inputs
        elif name.startswith("transposed") and name.endswith("weight"):
            limit = parameter[0].numel() ** -0.5  # PyTorch's own
        elif name == "fc.weight":
            limit = (6 / (512 + 50)) ** 0.5  # Xavier, uniform
        else:
            continue
        assert parameter.abs().max() <= limit
        assert parameter.detach().std() == pytest.approx(limit / 3**0.5, rel=0.15)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"levels_up": 5}, "no more up than down"),
        ({"levels_down": 11, "levels_up": 4}, "expected 1 to 10"),
        ({"tail": [4] * 10}, "give at most 9 numbers"),
        ({"tail": [4] * 9, "levels_up": 3}, "give at most 8 numbers"),
    ],
)
def test_levels_that_do_not_fit_into_a_window_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        TUNe(**arguments)


def test_a_compiled_network_embeds_by_one_graph_and_a_copy_of_it_by_its_own_weights():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    network = TUNe(n_classes=0, connections=True, **SMALL).eval()
    plainly = network.embed(audio(), ["conv2"])["conv2"]
    network.compile_parts(backend="eager", fullgraph=True)
    compiled = network.embed(audio(), ["conv2"])["conv2"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch.testing.assert_close(compiled, plainly)
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.conv2.layers[1].bias.add_(1)
    assert (other.embed(audio(), ["conv2"])["conv2"] > compiled).any()
    torch._dynamo.reset()
