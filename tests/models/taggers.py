"""What the tests of several taggers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.network import Network


def with_statistics(network: Network) -> Network:
    """The network in evaluation mode, with statistics and scales of batch norm that are not those of a new one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    spectrum = getattr(network, "spec_bn", None)
    if spectrum is not None:
        spectrum.running_mean.fill_(-11.0)
        spectrum.running_var.fill_(364.0)
    return network.eval()


def published_layout(network: Network) -> dict[str, Tensor]:
    """The tensors of a network of Won et al. as they save them, with the front end's that are to be built anew."""
    front_end = {"spec.spectrogram.window": torch.ones(512), "spec.mel_scale.fb": torch.empty(0)}
    return {**front_end, **network.state_dict()}
