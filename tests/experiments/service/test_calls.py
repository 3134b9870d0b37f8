"""Functions that decode, told to another process and made again there."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from experiments.service.calls import described, made
from models import frontends
from preprocess.audio import exact_audio_track
from preprocess.recipes import by_recipe
from tests.experiments.service import decoding_functions as does


def test_a_call_of_plain_values_is_made_again():
    call = made(described(partial(exact_audio_track, 22_050)))
    assert (call.func, call.args, call.keywords) == (exact_audio_track, (22_050,), {})
    call = made(described(partial(by_recipe, "musicnn", max_seconds=3.5)))
    assert (call.func, call.args, call.keywords) == (by_recipe, ("musicnn",), {"max_seconds": 3.5})
    assert made(described(does.number)).func is does.number


def without_parameters() -> list[str]:
    return [name for name in frontends.names() if not any(True for _ in frontends.build(name).parameters())]


@pytest.mark.parametrize("name", without_parameters())
def test_front_ends_are_made_again_to_the_last_digit(name: str):
    frontend = frontends.build(name).eval()
    (again,) = made(described(partial(by_recipe, frontend))).args
    audio = torch.randn(32_000, generator=torch.Generator().manual_seed(0)) / 4
    assert again.fingerprint == frontend.fingerprint
    assert torch.equal(again(audio), frontend(audio))


def test_front_ends_with_other_arguments_are_others():
    usual, other = frontends.build("mel_db"), frontends.build("mel_db", bands=64)
    assert described(partial(by_recipe, usual)) != described(partial(by_recipe, other))
    assert made(described(partial(by_recipe, other))).args[0].item_shape == (64,)


def test_a_function_without_a_place_is_refused():
    with pytest.raises(TypeError, match="no function that can be imported"):
        described(lambda path: [])
