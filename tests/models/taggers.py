"""What the tests of several taggers share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.checkpoints import Checkpoint, load_checkpoint
from models.network import Network

State = Mapping[str, Tensor]


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


def loaded_from_published(network: Network, folder: Path) -> list[Checkpoint]:
    """What is loaded from the files in which Won et al. and programs of Lightning keep such weights."""
    loaded = []
    for legacy, prefix in ((True, ""), (False, ""), (False, "model.")):
        state = {prefix + key: tensor for key, tensor in published_layout(network).items()}
        file = folder / f"{legacy}{prefix}best.pth"
        torch.save({"state_dict": state} if prefix else state, file, _use_new_zipfile_serialization=not legacy)
        loaded.append(load_checkpoint(file))
    return loaded


def same_weights(network: Network, other: Network) -> bool:
    """Whether two networks are of one class, with equal arguments and tensors."""
    theirs = other.state_dict()
    return (
        type(network) is type(other)
        and network.hyperparameters == other.hyperparameters
        and all(torch.equal(tensor, theirs[key]) for key, tensor in network.state_dict().items())
    )


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """Batch norm in evaluation."""
    keys = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys))


def convolved(state: State, conv: str, bn: str, x: Tensor, **options: int) -> Tensor:
    """Convolution of 3 x 3 and batch norm."""
    return norm(state, bn, F.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"], padding=1, **options))


def two_dense(state: State, x: Tensor) -> Tensor:
    """The hidden layer and the classifier."""
    x = F.relu(norm(state, "bn", F.linear(x, state["dense1.weight"], state["dense1.bias"])))
    return F.linear(x, state["dense2.weight"], state["dense2.bias"])


def spectrogram(frames: int, bands: int, batch: int = 2) -> Tensor:
    """Levels in dB, `[batch, frames, bands]`."""
    return torch.randn(batch, frames, bands, generator=torch.Generator().manual_seed(1)) * 20 - 30
