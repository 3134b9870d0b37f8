"""Functions that decode, told to another process and made again there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from experiments.export.facts import FrontEndFacts
from experiments.service.calls import described, made
from experiments.service.onnx_decoding import OnnxFrontEnd, features_track
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


def test_a_front_end_of_an_exported_file_is_told_in_full():
    names = {"name": "mel_db", "fingerprint": "0" * 16, "item_shape": (96,), "fill": -100.0}
    facts = FrontEndFacts(**names, sample_rate=16_000, hop=256, context=256, min_samples=257, ahead=0, extra=1)
    frontend = OnnxFrontEnd((Path("local.onnx"), Path("settling.onnx")), facts)
    assert made(described(partial(features_track, frontend))).args == (frontend,)


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
