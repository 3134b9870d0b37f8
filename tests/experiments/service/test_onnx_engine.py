"""Exported networks answer as the networks themselves do, whatever they predict.

Each network is exported once, which takes most of the time.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from experiments.errors import UserError
from experiments.service.descriptions import description_of
from preprocess.decode import load
from tests.experiments.service.exported import alone, asked, decoded, embedded, opened, written

SOUND = Path(__file__).parents[2] / "data" / "super_polka.ogg"
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
KINDS = ("tags", "genre", "values", "beats", "tempo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def files(folder):
    """Names of small networks to their exported files, whose checkpoints lie beside them."""
    return cache(lambda kind, **export: written(kind, folder, **export))


@pytest.fixture(scope="module")
def song(folder) -> Path:
    """13 s, in no whole number of windows, at a rate of no network here."""
    samples = np.tile(load(SOUND, 24_000), 2)[: 13 * 24_000 + 777]
    soundfile.write(folder / "song.wav", samples, 24_000, subtype="FLOAT")
    return folder / "song.wav"


def numbers(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of an answer by their place."""
    if isinstance(value, dict):
        return {key: one for name, inner in value.items() for key, one in numbers(inner, f"{path}/{name}").items()}
    if isinstance(value, list | tuple):
        return {key: one for at, inner in enumerate(value) for key, one in numbers(inner, f"{path}/{at}").items()}
    return {path: value}


def assert_same(one: Any, other: Any) -> None:
    ours, theirs = numbers(one.model_dump()), numbers(other.model_dump())
    assert ours.keys() == theirs.keys()
    for place, value in ours.items():
        unit = 0.01 if place.endswith("/tempo") else 1e-4  # a tempo has two decimals
        expected = pytest.approx(theirs[place], abs=1.001 * unit) if isinstance(value, float) else theirs[place]
        assert value == expected, place


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_pytorch(files, song, kind):
    file = files(kind)
    ours, theirs = opened(file), opened(file.with_suffix(".safetensors"))
    assert_same(asked(ours, song), asked(theirs, song))
    np.testing.assert_allclose(embedded(ours, song), embedded(theirs, song), atol=1e-4)
    assert ours.decoding == theirs.decoding


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_described_alike(files, kind):
    file = files(kind)
    ours, theirs = (description_of(opened(one)).model_dump() for one in (file, file.with_suffix(".safetensors")))
    assert ours["layers"] == theirs["layers"][-2:]
    differ = {key for key in ours if ours[key] != theirs[key]}
    assert differ <= {"layers", "default_layer", "shortest_seconds"}
    assert ours["identity"] == theirs["identity"]


def test_thresholds_are_in_the_file(files):
    selection = opened(files("tags")).selection
    assert selection.source == "fitted on validation, 1,823 tracks"
    assert selection.thresholds == (0.2, 0.5, 0.9)


def test_settings_of_predict_hold(files, song):
    file = files("genre")
    ours, theirs = (alone(one, {"windows": 2, "join": "max"}) for one in (file, file.with_suffix(".safetensors")))
    answer = asked(ours, song)
    assert len(answer.over_time) == 2
    assert_same(answer, asked(theirs, song))


def test_other_windows_than_those_of_the_file_are_refused(files):
    file = files("genre")
    with pytest.raises(UserError, match=r"clip_length=2 s: the file takes windows of 3.2 s"):
        alone(file, datamodule={"clip_length": 2.0})
    assert alone(file, datamodule={"clip_length": 3.2}).predictor.windowing.frames == 200
    with pytest.raises(UserError, match="windows cannot be joined by median"):
        alone(file, {"join": "median"})


def test_short_recordings_need_a_file_for_any_length(files, folder):
    short = folder / "short.wav"
    soundfile.write(short, load(SOUND, 16_000)[:32_000], 16_000)
    with pytest.raises(UserError, match=r"126 frames: this file takes windows of 200 .*any_length=True"):
        asked(opened(files("genre")), short)


def test_a_file_for_any_length_takes_short_recordings_as_they_are(folder):
    aside = folder / "any"
    aside.mkdir()
    file = written("genre", aside, any_length=True)
    short = folder / "two_seconds.wav"
    soundfile.write(short, load(SOUND, 16_000)[:32_000], 16_000)
    ours, theirs = opened(file), opened(file.with_suffix(".safetensors"))
    answer = asked(ours, short)
    assert answer.window_seconds < 3
    assert_same(answer, asked(theirs, short))
    shorter = folder / "short_still.wav"
    soundfile.write(shorter, load(SOUND, 16_000)[:3_500], 16_000)
    for model in (ours, theirs):
        assert "too short" in decoded(model, shorter)


def test_an_encoder_alone_gives_embeddings(files, song):
    file = files("embeddings")
    ours, theirs = opened(file), opened(file.with_suffix(".safetensors"))
    assert ours.predictor is None
    np.testing.assert_allclose(embedded(ours, song), embedded(theirs, song), atol=1e-4)


def test_silence_and_damage_are_what_they_are_to_pytorch(files, folder):
    silent = folder / "silent.wav"
    soundfile.write(silent, np.zeros(64_000), 16_000)
    for kind in ("tags", "beats"):
        file = files(kind)
        found = [decoded(opened(one), silent) for one in (file, file.with_suffix(".safetensors"))]
        assert found[0] == found[1]
        assert found[0].startswith("silent")
