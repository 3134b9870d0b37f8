"""Tensors keep their values and their place."""

from __future__ import annotations

import torch

from models.transfer import send


class Recorded(torch.Tensor):
    """A tensor of ordinary memory that tells how it is sent to a GPU that is not there."""

    def pin_memory(self, *_):
        self.pinned = True
        return self

    def to(self, *arguments, **named):
        self.sent = (arguments, named)
        return self


def test_on_a_cpu_nothing_happens():
    tensor = torch.arange(5)
    assert torch.equal(send(tensor, "cpu"), tensor)


def test_a_gpu_gets_it_from_pinned_memory_without_being_waited_for():
    tensor = torch.arange(5).as_subclass(Recorded)
    send(tensor, "cuda:1")
    assert tensor.pinned
    assert tensor.sent == ((torch.device("cuda:1"),), {"non_blocking": True})
