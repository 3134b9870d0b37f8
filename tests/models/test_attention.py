"""Whichever kernel of attention is preferred, the values are the same: what it cannot do is done by another."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.attention import KERNELS, prefer


@pytest.mark.parametrize("kernel", [None, *KERNELS])
def test_every_preference_gives_the_same_values(kernel):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, 16)
    expected = ((query @ key.transpose(-2, -1)) / 4).softmax(-1) @ value
    with prefer(kernel):
        out = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_the_choice_ends_with_the_context():
    before = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.cudnn_sdp_enabled()
    with prefer("flash"):
        assert torch.backends.cuda.flash_sdp_enabled()
    assert (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.cudnn_sdp_enabled()) == before


def test_gradients_go_through_any():
    query = torch.randn(1, 2, 5, 8, requires_grad=True)
    for kernel in KERNELS:
        with prefer(kernel):
            (gradient,) = torch.autograd.grad(F.scaled_dot_product_attention(query, query, query).sum(), query)
        assert torch.isfinite(gradient).all()
