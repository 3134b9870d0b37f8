"""Matrix products of float32 on a CPU by oneDNN, with their gradients, where they are faster than those of PyTorch.

Products of bfloat16 go to oneDNN in PyTorch already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd import Function, forward_ad
from torch.nn import functional as F

from models.kernels.choices import TORCH, Candidates, choice, numbers
from models.kernels.mode import enabled

ONEDNN = "onednn"
SMALLEST = 2**20  # multiply-adds: below them the call costs more than the product
NARROW, SHORT = 128, 512  # columns and terms of a sum that decide how `transposed_times` is computed
TIMED = 2**27  # multiply-adds: larger products are alike
ROWS, MOST_ROWS = 256, 4096  # that are timed, however large or small each of them is


class Linear(nn.Linear):
    """`nn.Linear`, its products by the fastest kernel; the same parameters, the same results up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_features]` -> `[..., out_features]`."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x W^T + b`, as `torch.nn.functional.linear` computes it.

    Args:
        x: `[..., inputs]`.
        weight: `[outputs, inputs]`.
        bias: `[outputs]`.
    """
    if not _may_differ(x, weight) or x.numel() * len(weight) < SMALLEST:
        return F.linear(x, weight, bias)
    learned = x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    training = learned and torch.is_grad_enabled()
    rows, (outputs, inputs) = x.numel() // x.shape[-1], weight.shape
    if _kernel(_bucket(rows, inputs * outputs), inputs, outputs, training) == TORCH:
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias) if training else times_transposed(x, weight, bias)


def outer_sum(x: Tensor, y: Tensor) -> Tensor:
    """`x^T y` of `[k, m]` and `[k, n]`, `[m, n]`: the sum of outer products of their rows; without gradients."""
    (k, m), n = x.shape, y.shape[1]
    if not _may_differ(x, y) or k * m * n < SMALLEST:
        return x.t() @ y
    terms = _bucket(k, m * n)
    kernel = choice(f"outer-sum-{terms}x{m}x{n}", lambda: _candidates_outer_sum(terms, m, n))
    return x.t() @ y if kernel == TORCH else transposed_times(x, y)


def takes_part(x: Tensor) -> bool:
    """Whether other kernels are looked at: on a CPU, where nobody compiles, exports, counts or transforms."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and type(x) in (Tensor, nn.Parameter)
        and not torch._C._len_torch_dispatch_stack()
        and not torch.jit.is_tracing()
        and torch._C._functorch.peek_interpreter_stack() is None
        and forward_ad._current_level < 0
        and enabled()
    )


def _may_differ(x: Tensor, weight: Tensor) -> bool:
    return (
        takes_part(x)
        and x.dtype == torch.float32
        and x.dim() > 1
        and weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _bucket(rows: int, each: int) -> int:
    """Rows that stand for so many: the next power of two, up to what is timed.

    Args:
        rows: At least 1.
        each: Multiply-adds of one.
    """
    return min(1 << (rows - 1).bit_length(), min(MOST_ROWS, max(ROWS, 1 << (TIMED // each).bit_length() >> 1)))


def times_transposed(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x y^T + b` of `[..., n]` and `[m, n]` by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, y, bias, "none", [], "")


def transposed_times(x: Tensor, y: Tensor) -> Tensor:
    """`x^T y` of `[k, m]` and `[k, n]` by oneDNN, `[m, n]`.

    oneDNN has an operation for it, which is the fastest for long sums alone: others are `times_transposed` of what is
    cheaper to transpose.
    """
    (k, m), n = x.shape, y.shape[1]
    if n <= NARROW < m:
        return times_transposed(y.t().contiguous(), x.t()).t()
    if k <= SHORT:
        return times_transposed(x.t().contiguous(), y.t())
    return torch.ops.aten.mkldnn_linear_backward_weights(x.to_mkldnn(), y.to_mkldnn(), y, False)[0].to_dense()


class _Linear(Function):
    """See `linear`."""

    @staticmethod
    def forward(x, weight, bias):
        """`[..., inputs]` -> `[..., outputs]`."""
        return times_transposed(x, weight, bias)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Input and weights are kept."""
        x, weight, bias = inputs
        ctx.save_for_backward(x, weight)
        ctx.bias = bias is not None

    @staticmethod
    def backward(ctx, grad):
        """Of input, weights and bias; by PyTorch's own products where a second derivative is asked for."""
        x, weight = ctx.saved_tensors
        by_input, by_weight, by_bias = ctx.needs_input_grad
        rows, seen = grad.flatten(0, -2), x.flatten(0, -2)
        if torch.is_grad_enabled():
            dx = (rows @ weight).view_as(x) if by_input else None
            return dx, rows.t() @ seen if by_weight else None, rows.sum(0) if by_bias else None
        dx = times_transposed(rows, weight.t()).view_as(x) if by_input else None
        return dx, transposed_times(rows, seen) if by_weight else None, rows.sum(0) if by_bias else None


def _kernel(rows: int, inputs: int, outputs: int, training: bool) -> str:
    name = f"linear-{rows}x{inputs}x{outputs}-{'training' if training else 'inference'}"
    return choice(name, lambda: _candidates(rows, inputs, outputs, training))


def _candidates(rows: int, inputs: int, outputs: int, training: bool) -> Candidates:
    x, weight, bias = numbers(rows, inputs), numbers(outputs, inputs), numbers(outputs)
    if not training:
        return {
            TORCH: lambda: [F.linear(x, weight, bias)],
            ONEDNN: lambda: [times_transposed(x, weight, bias)],
        }
    leaves, slope = [tensor.requires_grad_() for tensor in (x, weight, bias)], numbers(rows, outputs)

    def gradients(product: Callable[..., Tensor]) -> Sequence[Tensor]:
        with torch.enable_grad():
            return torch.autograd.grad(product(*leaves), leaves, slope)

    return {TORCH: lambda: gradients(F.linear), ONEDNN: lambda: gradients(_Linear.apply)}


def _candidates_outer_sum(k: int, m: int, n: int) -> Candidates:
    x, y = numbers(k, m), numbers(k, n)
    return {TORCH: lambda: [x.t() @ y], ONEDNN: lambda: [transposed_times(x, y)]}
