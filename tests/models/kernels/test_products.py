"""Products by oneDNN and their gradients are those of PyTorch, for any shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.kernels import products
from models.kernels.mode import using
from models.kernels.products import ONEDNN, Linear, linear, outer_sum, transposed_times

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
SIZES = st.integers(1, 200)


@pytest.fixture(autouse=True)
def onednn(monkeypatch):
    """It is taken whatever it gains here, for small products too."""
    monkeypatch.setattr(products, "choice", lambda what, candidates: ONEDNN)
    monkeypatch.setattr(products, "SMALLEST", 0)


def near(found, expected, terms):
    """Of normal numbers the roundings of a sum grow as its partial sums: with the number of terms."""
    bound = torch.finfo(torch.float32).eps * terms + 1e-6
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=bound)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=2), SIZES, SIZES, st.booleans(), SIZES)
def test_a_linear_layer(batch, inputs, outputs, bias, seed):
    draw = torch.Generator().manual_seed(seed)
    x, weight, b, slope = (
        torch.randn(size, generator=draw)
        for size in ((*batch, inputs), (outputs, inputs), (outputs,), (*batch, outputs))
    )
    leaves = [x.requires_grad_(), weight.requires_grad_(), *([b.requires_grad_()] if bias else [])]
    found, expected = linear(*leaves), F.linear(*leaves)
    near(found, expected, inputs)
    assert type(found.grad_fn).__name__ == "_LinearBackward"
    grads = (torch.autograd.grad(one, leaves, slope) for one in (found, expected))
    for one, other in zip(*grads, strict=True):
        near(one, other, max(outputs, 81))
    with torch.inference_mode():
        near(linear(*leaves), expected, inputs)


@settings(max_examples=60)
@given(k=st.sampled_from([1, 5, 64, 512, 513, 700]), m=SIZES, n=SIZES, seed=SIZES)
def test_a_sum_of_outer_products(k, m, n, seed):
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(k, m, generator=draw), torch.randn(k, n, generator=draw)
    for found in (outer_sum(x, y), transposed_times(x, y), outer_sum(x.t().contiguous().t(), y)):
        assert found.shape == (m, n)
        near(found, x.double().t() @ y.double(), k)


@pytest.mark.parametrize(
    ("rows", "each", "timed"),
    [(1, 10, 1), (5, 10, 8), (200, 2**21, 256), (1685, 2**21, 256), (3104, 128 * 512, 2048), (10**6, 2**10, 4096)],
)
def test_sizes_that_stand_for_others_take_as_long_as_needed(rows, each, timed):
    assert products._bucket(rows, each) == timed
    assert timed * each <= max(products.TIMED, products.ROWS * each)


@pytest.mark.parametrize("learned", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}], ids=str)
def test_gradients_are_those_that_are_asked_for(learned):
    leaves = [torch.randn(size, requires_grad=number in learned) for number, size in enumerate([(6, 5), (4, 5), (4,)])]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    sums = (way(*leaves).square().sum() for way in (linear, F.linear))
    found, expected = (torch.autograd.grad(each, wanted) for each in sums)
    assert len(found) == len(wanted)
    for one, other in zip(found, expected, strict=True):
        near(one, other, 6)


def test_it_has_second_derivatives():
    x, weight = torch.randn(7, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda *given: linear(*given), (x, weight), eps=1e-2, atol=1e-2, rtol=1e-2)


def test_a_layer_keeps_its_name_state_and_hooks():
    layer, plain = Linear(5, 3), torch.nn.Linear(5, 3)
    plain.load_state_dict(layer.state_dict())
    seen = []
    layer.register_forward_hook(lambda module, given, found: seen.append(found))
    x = torch.randn(2, 4, 5)
    near(layer(x), plain(x), 5)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(4, 5, dtype=torch.float64),
        torch.randn(4, 5, device="meta"),
        torch.randn(0, 5),
        torch.randn(5),
    ],
    ids=["float64", "meta", "empty", "a vector"],
)
def test_other_inputs_give_what_pytorch_gives(x):
    layer = Linear(5, 3).to(x.dtype).to(x.device)
    assert layer(x).shape == F.linear(x, layer.weight, layer.bias).shape
    if x.device.type == "cpu":
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_autocast_exports_and_the_setting_keep_pytorchs_own(monkeypatch):
    monkeypatch.setattr(products, "times_transposed", lambda *given: pytest.fail("oneDNN by itself"))
    layer, x = Linear(5, 3).requires_grad_(False), torch.randn(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    torch.export.export(layer, (x,))
    with using("torch"):
        layer(x)
