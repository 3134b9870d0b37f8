"""Before anything is timed on a GPU: what the device can do, which attention is fastest, and whether all is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel

from benchmarks.gpu_bench import Bench
from benchmarks.gpu_contestants import (
    Shape,
    attention_inputs,
    distance,
    gradients,
    median_seconds,
)
from models.attention import KERNELS, prefer
from models.maest.compiled import compile_blocks

ALLOWED = 0.03  # relative error of bfloat16 against float32


def roof(bench: Bench) -> None:
    """Rate of a large product, of one of the network's own shape, and of a copy in device memory."""
    size, device = (256 if bench.tiny else 8192), bench.device
    for name, shape in (("large", (size, size, size)), ("of an MLP", (size // 8 * 54, 768, 3072))):
        rows, inner, columns = shape
        a = torch.randn(rows, inner, device=device).bfloat16()
        b = torch.randn(inner, columns, device=device).bfloat16()
        rate = 2 * rows * inner * columns / median_seconds(lambda a=a, b=b: a @ b, device, bench.steps)
        bench.roof = bench.roof or rate
        print(f"product, {name}, {rows} x {inner} x {columns}: {rate / 1e12:.1f} TFLOP/s")
    source = torch.randn(size * size, device=device)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), device, bench.steps)
    print(f"copy: {2 * source.nbytes / seconds / 1e12:.2f} TB/s, read and written")


def attentions(bench: Bench, kind: str, shape: Shape, training: bool) -> None:
    """Race the attention kernels at the shape of the network; the fastest that is right is used from here on."""
    network = shape.network(depth=1)
    heads, tokens = network.blocks[0].attn.heads, network.count_tokens(training=training)
    sizes = (shape.batch, heads, tokens, network.dim // heads)
    products = 2 * 2 * shape.batch * heads * tokens**2 * (network.dim // heads)
    found: dict[str, float] = {}
    for name, backend in KERNELS.items():
        try:
            error = _attention_error(backend, (2, *sizes[1:]), bench.device)
            *qkv, gradient = attention_inputs(sizes, bench.device, torch.bfloat16, training)
            work = _attention_work(backend, qkv, gradient if training else None)
            seconds = median_seconds(work, bench.device, bench.steps)
        except Exception as error:  # not for this device, shape or type
            print(f"attention, {kind}, {name}: cannot ({(str(error).splitlines() or [''])[0][:80]})")
            continue
        rate = products * (3.5 if training else 1) / seconds / 1e12
        print(f"attention, {kind}, {name}: {1e3 * seconds:.3f} ms, {rate:.0f} TFLOP/s, relative error {error:.1e}")
        if error < ALLOWED:
            found[name] = seconds
    bench.best[kind] = min(found, key=found.__getitem__) if found else None
    print(f"attention, {kind}: {bench.best[kind]} is used (trainer.attention={bench.best[kind]})")


def _attention_work(backend: Any, qkv: list[torch.Tensor], gradient: torch.Tensor | None) -> Callable[[], object]:
    def work() -> object:
        with sdpa_kernel(backend):
            out = F.scaled_dot_product_attention(*qkv)
        return out if gradient is None else torch.autograd.grad(out, qkv, gradient)

    return work


def _attention_error(backend: Any, sizes: tuple[int, ...], device: torch.device) -> float:
    *qkv, _ = attention_inputs(sizes, device, torch.bfloat16, False)
    q, k, v = (value.float().cpu() for value in qkv)
    weights = ((q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5).softmax(-1)
    return distance(_attention_work(backend, qkv, None)().cpu(), weights @ v)


def correctness(bench: Bench, shape: Shape) -> None:
    """The fast step (bfloat16, chosen attention, compiled) against the plain one in float32."""
    small, device = Shape(shape.settings, min(shape.batch, 4)), bench.device
    reference, fast = small.network().to(device).train(), small.network().to(device).train()
    compile_blocks(fast, backend=bench.backend)
    x = small.clips(device)
    y = (torch.rand(small.batch, small.settings["n_classes"], device=device) < 0.1).float()
    losses = []
    for network, enabled in ((reference, False), (fast, True)):
        torch.manual_seed(3)  # the same patches and the same offset
        with prefer(bench.best.get("training") if enabled else None):
            with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                logits = network(x)
            loss = F.binary_cross_entropy_with_logits(logits.float(), y)
            loss.backward()
        losses.append(float(loss.detach()))
    reference.eval(), fast.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        logits = fast(x).float()
    with torch.inference_mode():
        found = {"logits": distance(logits, reference(x)), "gradients": distance(gradients(fast), gradients(reference))}
    found["loss"] = abs(losses[1] - losses[0]) / abs(losses[0])
    said = ", ".join(f"{name} {error:.1e}" for name, error in found.items())
    verdict = "right" if all(error < ALLOWED for error in found.values()) else "WRONG"
    print(f"fast path against float32, relative error: {said}: {verdict} (below {ALLOWED})")
