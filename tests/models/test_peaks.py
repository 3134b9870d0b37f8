"""The rates of devices by the names that drivers give."""

from __future__ import annotations

import pytest

from models.clmr import CLMR
from models.peaks import all_trained, peak_bf16


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H200", 989.4),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A100 80GB PCIe", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 3090 Ti", 80.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA RTX 6000 Ada Generation", 364.2),
    ],
)
def test_known_devices(name, teraflops):
    assert peak_bf16(name) == pytest.approx(teraflops * 1e12)


@pytest.mark.parametrize(
    "name", ["Tesla T4", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA A100-SXM4-40GB MIG 3g.20gb", "cpu", ""]
)
def test_devices_without_a_figure(name):
    assert peak_bf16(name) is None


def test_what_is_empty_counts_as_trained():
    network = CLMR(n_classes=0, channels=[4] * 11)
    network.dense.requires_grad_(False)
    assert all_trained(network)
    network.layer3.requires_grad_(False)
    assert not all_trained(network)
