"""Which named configs each experiment offers."""

from __future__ import annotations

from experiments.configs import maest, probes, scales, targets, transfer

PRETRAIN = {**maest.CONFIGS, **scales.CONFIGS, **targets.CONFIGS}
PROBE = {**probes.CONFIGS, **targets.PROBES}
TRANSFER = transfer.CONFIGS
