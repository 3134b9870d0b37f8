"""Every benchmark can be imported, the roof is measured, and operations are told apart."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from benchmarks.machine import _kernels, roof
from benchmarks.operations import shares
from models.kernels.products import Linear
from tests.peers import peer

PEERS = {"inference": ["maest_infer", "transformers"], "training_step": ["maest_infer"], "levers": ["maest_infer"]}
MODULES = sorted(path.stem for path in Path("benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_it_can_be_imported(name):
    for needed in PEERS.get(name, []):
        peer(needed)
    assert importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_roof_is_the_best_of_kernels_that_compute_the_same(dtype):
    shape = (64, 32, 48)
    expected, *others = (torch.as_tensor(work()).float() for work in _kernels(shape, dtype, "cpu").values())
    for other in others:
        cells = other if other.ndim == 2 else other.permute(0, 2, 3, 1).flatten(0, 2)
        torch.testing.assert_close(cells, expected, rtol=1e-2, atol=1e-1 if dtype == torch.bfloat16 else 1e-4)
    best = roof(dtype, [shape, (128, 64, 64)], rounds=1)
    assert best.rate > 1e6
    assert "GFLOP/s" in str(best)


def test_operations_are_told_apart():
    layer, norm = Linear(64, 64), torch.nn.LayerNorm(64)
    found = shares(lambda: torch.nn.functional.gelu(layer(norm(torch.randn(4, 300, 64)))).softmax(-1))
    assert sum(found.values()) == pytest.approx(1)
    assert {"products of layers", "layer norm", "GELU", "softmax"} <= set(found)
