"""A network prepared for inference gives what the network gives."""

from __future__ import annotations

import pytest
import torch

from models.kernels.mode import using
from models.maest import MAEST
from models.maest.prepared import PackedBlock, prepare


@pytest.fixture(scope="module")
def network() -> MAEST:
    torch.manual_seed(0)
    network = MAEST(n_classes=11, n_frames=312, dim=96, depth=3, heads=3, s_patchout_f_interleaved=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def test_equal_outputs(network):
    prepared = prepare(network)
    assert all(isinstance(block, PackedBlock) for block in prepared.blocks)
    network.eval()
    x = torch.randn(3, 300, 96)
    before = x.clone()
    with torch.inference_mode():
        ours, fast = (each.forward_and_embed(x, network.layer_names) for each in (network, prepared))
        for layer in network.layer_names:
            torch.testing.assert_close(fast[1][layer], ours[1][layer], rtol=0, atol=1e-4)
        torch.testing.assert_close(fast[0], ours[0], rtol=0, atol=1e-4)
        torch.testing.assert_close(prepared(x), network(x), rtol=0, atol=1e-4)
        torch.testing.assert_close(prepared.features(x), network.features(x), rtol=0, atol=1e-4)
    assert torch.equal(x, before)


def test_the_original_is_left_alone(network):
    network.train()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    prepared = prepare(network)
    assert network.training
    assert not prepared.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not prepared(torch.randn(1, 100, 96)).requires_grad
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_block_inputs_are_not_written_over(network):
    block = prepare(network).blocks[1]
    x = torch.randn(2, 20, 96)
    before = x.clone()
    torch.testing.assert_close(block(x)[:, :2], block(x, queries=2), rtol=0, atol=1e-5)
    assert torch.equal(x, before)


def test_another_precision_is_copied_as_it_is(network):
    prepared = prepare(MAEST(dim=32, depth=1, heads=2, n_frames=125).double())
    assert prepared(torch.randn(1, 125, 96)).dtype == torch.float64


def test_autocast_does_not_break_it(network):
    prepared, x = prepare(network), torch.randn(2, 300, 96)
    with torch.inference_mode():
        expected = prepared.embed(x, ["block_02"])["block_02"]
        with torch.autocast("cpu", torch.bfloat16):
            tokens = prepared.embed(x, ["block_02"])["block_02"]
            assert prepared(x).shape == (2, 11)
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens, expected, rtol=0.1, atol=0.1)


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 here")
def test_in_bfloat16_it_is_as_near_as_autocast(network):
    prepared, x = network.prepared_mixed(torch.bfloat16), torch.randn(2, 300, 96)
    assert all(isinstance(block, PackedBlock) for block in prepared.blocks)
    network.eval()
    with torch.inference_mode():
        exact = network.embed(x, ["block_02"])["block_02"]
        with torch.autocast("cpu", torch.bfloat16):
            cast, packed = (each.embed(x, ["block_02"])["block_02"] for each in (network, prepared))
            logits = prepared(x)
    assert packed.dtype == torch.float32
    assert logits.shape == (2, 11)
    errors = [float((each.float() - exact).norm() / exact.norm()) for each in (cast, packed)]
    assert 0 < errors[1] < 1.2 * errors[0] < 0.1


def test_with_kernels_of_pytorch_alone_nothing_is_packed(network):
    with using("torch"):
        prepared = prepare(network)
    assert not any(isinstance(block, PackedBlock) for block in prepared.blocks)
