"""Attention in blocks and its gradients are those of PyTorch's kernel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.kernels import attention as module
from models.kernels import choices
from models.kernels.attention import BLOCKS, attention
from models.kernels.mode import using

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
FEW, LENGTHS = st.integers(1, 3), st.integers(1, 90)
ABLE = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    """They are taken whatever they gain here, of few tokens too, and are small."""
    monkeypatch.setattr(module, "choice", lambda what, candidates, gain: BLOCKS)
    monkeypatch.setattr(module, "SMALLEST", 1)
    monkeypatch.setattr(module, "BLOCK", 1000)


def made(batch, heads, queries, tokens, width, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    sizes = [(batch, count, heads, width) for count in (queries, tokens, tokens)]
    return [torch.randn(size, generator=draw).to(dtype).transpose(1, 2).requires_grad_() for size in sizes]


@settings(max_examples=40)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 9)
)
def test_values_and_gradients(batch, heads, queries, tokens, width, seed):
    leaves = made(batch, heads, queries, tokens, width, seed)
    found, expected = attention(*leaves), F.scaled_dot_product_attention(*leaves)
    assert type(found.grad_fn).__name__ == "_AttentionBackward"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    slope = torch.randn(expected.shape)
    for one, other in zip(*(torch.autograd.grad(each, leaves, slope) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(attention(*leaves), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not ABLE, reason="oneDNN has no bfloat16 here")
def test_bfloat16_is_as_near_as_pytorchs_kernel():
    leaves = made(2, 3, 90, 90, 32, dtype=torch.bfloat16)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    slope = torch.randn(2, 3, 90, 32)

    def errors(way, leaves):
        found = way(*leaves)
        grads = torch.autograd.grad(found, leaves, slope.to(found.dtype))
        return [found, *grads]

    expected = errors(F.scaled_dot_product_attention, exact)
    ours, theirs = (errors(way, leaves) for way in (attention, F.scaled_dot_product_attention))
    for one, other, right in zip(ours, theirs, expected, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - right).norm() < 2 * (other - right).norm() + 1e-3 * right.norm()


def test_one_gradient_for_all_outputs():
    leaves = made(2, 2, 40, 50, 16)
    sums = (way(*leaves).sum() for way in (attention, F.scaled_dot_product_attention))
    for one, other in zip(*(torch.autograd.grad(each, leaves) for each in sums), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_large_scores_do_not_overflow():
    q, k, v = (100 * one for one in made(1, 2, 40, 50, 16))
    torch.testing.assert_close(attention(q, k, v), F.scaled_dot_product_attention(q, k, v), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_is_that_of_the_weights_and_the_same_in_the_backward_pass(rate):
    q, k, v = made(2, 3, 40, 60, 60)
    torch.manual_seed(1)
    mixed = attention(q, k, torch.eye(60).expand(2, 3, 60, 60), rate)  # the weights themselves
    kept = (mixed != 0).float()
    assert kept.mean().item() == pytest.approx(1 - rate, abs=0.02)
    assert len(kept.flatten(0, 2).unique(dim=0)) == 2 * 3 * 40  # no query, head or clip has the draw of another
    weights = torch.softmax(q @ k.transpose(2, 3) / 60**0.5, -1) * kept / (1 - rate)
    torch.testing.assert_close(mixed, weights, rtol=1e-4, atol=1e-6)
    torch.manual_seed(1)
    found, expected = attention(q, k, v, rate), weights @ v
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    slope = torch.randn(expected.shape)
    for one, other in zip(*(torch.autograd.grad(each, (q, k, v), slope) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    torch.manual_seed(1)
    with torch.no_grad():
        assert torch.equal(attention(q, k, v, rate), found)
    assert not torch.equal(attention(q, k, v, rate), found)


@pytest.mark.skipif(not ABLE, reason="oneDNN has no bfloat16 here")
def test_dropout_in_bfloat16_is_that_of_float32():
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(1)
        leaves = made(2, 3, 40, 60, 60, dtype=dtype)
        out = attention(*leaves, 0.3)
        found.append([out, *torch.autograd.grad(out, leaves, torch.ones_like(out))])
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.bfloat16
        assert (rounded - exact).norm() < 0.02 * exact.norm()


def test_what_is_drawn_does_not_depend_on_whether_it_is_timed(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.delenv("OSTINATO_KERNELS", raising=False)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    monkeypatch.setattr(choices, "_chosen", {})
    leaves = [leaf.detach() for leaf in made(1, 2, 600, 600, 8)]
    mixed = []
    for _ in ("timed", "known"):
        torch.manual_seed(0)
        mixed.append(attention(*leaves, 0.5))
    assert torch.equal(*mixed)
    assert len(list(tmp_path.rglob("attention-1024x8-float32-inference-dropout-*.json"))) == 1


def test_with_dropout_it_is_timed_only_where_it_is_right_without(monkeypatch):
    candidates = module._candidates(64, 8, torch.float32, True, 0.5)
    assert {name: list(work()) for name, work in candidates.items()} == {"torch": [], "blocks": []}
    monkeypatch.setattr(module, "_weights", lambda q, k: torch.softmax(2 * q @ k.t(), -1))
    assert list(module._candidates(64, 8, torch.float32, True, 0.5)) == ["torch"]


def test_full_dropout_float64_exports_and_the_setting_keep_pytorchs_own(monkeypatch):
    monkeypatch.setattr(module, "_forward", lambda *given: pytest.fail("in blocks"))
    leaves = [leaf.detach() for leaf in made(1, 2, 30, 30, 8)]
    assert not attention(*leaves, dropout=1.0).any()
    assert attention(*(leaf.double() for leaf in leaves)).dtype == torch.float64
    assert attention(*(leaf.to("meta") for leaf in leaves)).is_meta
    with using("torch"):
        assert torch.equal(attention(*leaves), F.scaled_dot_product_attention(*leaves))


def test_transformed_functions_keep_pytorchs_own():
    q, k, v = (leaf.detach() for leaf in made(1, 2, 30, 30, 8))
    (found,) = torch.func.grad(lambda one: attention(one, k, v).sum(), argnums=(0,))(q)
    leaf = q.clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.scaled_dot_product_attention(leaf, k, v).sum(), leaf)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(NotImplementedError):  # as PyTorch's kernel, rather than a derivative of zero
        torch.func.jvp(lambda one: attention(one, k, v).sum(), (q,), (q,))


@pytest.mark.parametrize("sizes", [(2, 30), (1, 20)], ids=["another batch", "fewer values than keys"])
def test_inputs_that_do_not_fit_get_the_error_of_pytorch(sizes):
    q, k, _ = (leaf.detach() for leaf in made(1, 2, 30, 30, 8))
    with pytest.raises(RuntimeError):
        attention(q, k, torch.randn(sizes[0], 3, sizes[1], 8))
