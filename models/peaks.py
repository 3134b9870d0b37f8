"""What a GPU can do at most, its dense matrix rate in bfloat16 by the name that the driver gives; what training takes.

Rates are those of the manufacturers' data sheets and architecture papers for matrix units that take bfloat16 and sum up
in float32, without structured sparsity.
"""

from __future__ import annotations

import re

from models.network import Network

PASSES = 3  # forward; gradients by weights and by inputs cost one forward pass each

# In order: the first pattern that is found in the name counts. None: known to differ, and by how much is not.
TERAFLOPS_BF16: tuple[tuple[str, float | None], ...] = (
    (r"MIG|Laptop|Max-Q|4090 D", None),
    (r"\bGB200\b", 2500.0),
    (r"\bB200\b", 2250.0),
    (r"\bH[12]00 NVL\b", 835.5),
    (r"\bH[12]00 PCIe\b", 756.0),
    (r"\bH[128]00\b|\bGH200\b", 989.4),
    (r"\bH20\b", 148.0),
    (r"\bA[18]00\b", 312.0),
    (r"\bA40\b", 149.7),
    (r"\bA30\b", 165.0),
    (r"\bA10G\b", 70.0),
    (r"\bA10\b", 125.0),
    (r"\bL40S\b", 362.0),
    (r"\bL40\b", 181.0),
    (r"\bL4\b", 121.0),
    (r"RTX 6000 Ada", 364.2),
    (r"RTX A6000", 154.8),
    (r"RTX 5090\b", 209.5),
    (r"RTX 5080\b", 112.6),
    (r"RTX 4090\b", 165.2),
    (r"RTX 4080 SUPER", 104.4),
    (r"RTX 4080\b", 97.5),
    (r"RTX 3090 Ti", 80.0),
    (r"RTX 3090\b", 71.0),
    (r"RTX 3080 Ti", 68.2),
    (r"RTX 3080\b", 59.5),
    (r"MI300X", 1307.4),
)


def peak_bf16(name: str) -> float | None:
    """Operations per second of a device, or None for one that the table does not have.

    Args:
        name: As `torch.cuda.get_device_name` gives it.
    """
    rate = next((rate for pattern, rate in TERAFLOPS_BF16 if re.search(pattern, name)), None)
    return None if rate is None else rate * 1e12


def training_flops(network: Network, shape: tuple[int, ...]) -> int:
    """Operations of a forward and a backward pass over one window `[frames, *item_shape]`, all layers trained."""
    return 2 * PASSES * network.macs(shape, training=True)


def all_trained(network: Network) -> bool:
    """Whether every parameter is, but for those of heads that are empty, or that no loss reaches."""
    unused = {id(parameter) for head in network.unused_heads() for parameter in head.parameters()}
    counted = (parameter for parameter in network.parameters() if parameter.numel() and id(parameter) not in unused)
    return all(parameter.requires_grad for parameter in counted)
