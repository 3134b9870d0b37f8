"""Which kernel computes attention: `torch.nn.functional.scaled_dot_product_attention` has several."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch.nn.attention import SDPBackend, sdpa_kernel

KERNELS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


@contextlib.contextmanager
def prefer(kernel: str | None) -> Iterator[None]:
    """Try a kernel first; the others do what it cannot.

    Which one is fastest depends on the device, the length and the width: `python -m benchmarks.gpu` races them.

    Args:
        kernel: One of `KERNELS`; None leaves the choice to PyTorch.
    """
    if kernel is None:
        yield
        return
    order = [KERNELS[kernel], *(backend for name, backend in KERNELS.items() if name != kernel)]
    with sdpa_kernel(order, set_priority=True):
        yield
