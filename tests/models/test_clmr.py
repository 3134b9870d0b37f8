"""CLMR's SampleCNN against its definition: sizes, lengths, names, published weights."""

from __future__ import annotations

import pytest
import torch

from models.clmr import CLMR
from models.clmr_shapes import STRIDES, XL
from models.network_input import own_frontend
from models.samplecnn import SampleCNN
from tests.models import contrastive_files as files
from tests.models.taggers import with_statistics

NARROW = [4] * 11


def audio(samples: int = 59_049, batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(1))


def loaded(state: dict, **more) -> CLMR:
    """Of tensors in a published layout."""
    arguments, own, _ = CLMR.from_published(state)
    network = CLMR(**{**arguments, **more})
    network.load_state_dict(own)
    return network.eval()


def test_parameters_and_multiplications_are_those_of_the_publication():
    def size(**arguments) -> int:
        return sum(parameter.numel() for parameter in CLMR(**arguments).parameters())

    assert (size(n_classes=0), size()) == (2_368_512, 2_394_162)
    assert round(CLMR(n_classes=0).macs((59_049,)) / 1e5) == 17_286
    assert len(CLMR(n_classes=0).state_dict()) == 77 + 2
    with torch.device("meta"):
        assert CLMR(channels=XL).dense.in_features == 2048


def test_windows_of_2_68_s_at_22_khz_give_512_values_none_of_them_negative():
    network = with_statistics(CLMR(n_classes=0))
    assert own_frontend(network).sample_rate == 22_050
    with torch.no_grad():
        tokens = network.embed(audio(), [network.default_layer])["layer11"]
        assert network(audio()).shape == (2, 0)
    assert tokens.shape == (2, 1, 512)
    assert (tokens >= 0).all()


@pytest.mark.parametrize("shape", [(2, 59_048), (2, 59_050), (2, 65_536), (2, 118_098), (2, 1, 59_049), (59_049,)])
def test_any_other_length_or_channel_is_refused_with_the_one_that_is_expected(shape):
    with pytest.raises(ValueError, match=r"expected \[batch, 59049\]"):
        CLMR(channels=NARROW)(torch.zeros(shape))


@pytest.mark.parametrize(("rate", "samples"), [(22_050, 59_049), (16_000, 43_740), (8_000, 20_736)])
def test_strides_of_other_rates_give_one_cell_of_windows_as_long(rate, samples):
    network = CLMR(channels=NARROW, strides=STRIDES[rate]).eval()
    assert network.window == network.window_samples == network.max_frames == samples
    with torch.no_grad():
        assert network.run_layers(audio(samples), ["layer11"])["layer11"].shape == (2, 4, 1)
    assert 2.5 < samples / rate < 2.8


@pytest.mark.parametrize("rate", STRIDES)
def test_published_weights_give_what_the_published_layers_give(rate):
    state = files.clmr(STRIDES[rate])
    network, window = loaded(state), audio(3 * int(torch.tensor(STRIDES[rate]).prod()))
    with torch.no_grad():
        tokens = network.embed(window, ["layer11"])["layer11"][:, 0]
        expected = files.clmr_by_definition(state, window)
    assert expected.std() > 0.1
    assert (tokens - expected).abs().max() < 1e-4
    assert CLMR.from_published(state)[2]["frontend"]["arguments"] == {"sample_rate": rate}


def test_published_weights_with_a_head_give_what_the_published_layers_give():
    state = files.clmr()
    with torch.no_grad():
        representation = files.clmr_by_definition(state, audio())
        for hidden in (False, True):
            head = files.head(hidden)
            expected = representation
            for name in ("0", "2") if hidden else ("0",):
                expected = expected.relu() @ head[f"{name}.weight"].T + head[f"{name}.bias"]
            network = loaded({**state, **head})
            assert network.hyperparameters["hidden"] == (512 if hidden else 0)
            assert (network(audio()) - expected).abs().max() < 1e-4


def test_initial_weights_are_those_of_pytorch():
    torch.manual_seed(0)
    network = CLMR()
    for name, parameter in network.named_parameters():
        if name.endswith("conv.weight"):
            limit = parameter[0].numel() ** -0.5
            assert parameter.abs().max() <= limit
            assert parameter.detach().std() == pytest.approx(limit / 3**0.5, rel=0.1)
        if name.endswith("bn.weight"):
            assert (parameter == 1).all()


def test_it_is_no_network_of_won_et_al_and_they_are_none_of_it():
    """The names of their layers are the same."""
    theirs = SampleCNN(channels=NARROW).state_dict()
    assert CLMR.from_published(theirs) is None
    assert SampleCNN.from_published(files.clmr()) is None


@pytest.mark.parametrize(("arguments", "said"), [({"channels": [4] * 10}, "11 numbers"), ({"strides": [3]}, "9 num")])
def test_other_layers_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        CLMR(**arguments)
