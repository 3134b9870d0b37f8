"""DeiT through timm: what its caches hold is taken, its layout fits, and nothing is downloaded twice."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from models import download, timm_weights
from models.checkpoints import CheckpointError, initialise
from models.maest import MAEST
from models.releases import RELEASES

NAME = "passt_deit_bd_p16_384"
DEIT = RELEASES[NAME]


def small() -> MAEST:
    torch.manual_seed(0)
    return MAEST(n_classes=7, n_frames=312, dim=32, depth=2, heads=2)


@pytest.fixture(scope="module")
def deit() -> torch.nn.Module:
    torch.manual_seed(1)
    return timm.create_model(DEIT.timm, pretrained=False, embed_dim=32, depth=2, num_heads=2)


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch) -> Path:
    """Empty caches of ours, of torch and of Hugging Face, and no network."""
    from huggingface_hub import constants

    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("models.download.transfer", lambda *_: (_ for _ in ()).throw(ConnectionError("no network")))
    return tmp_path


def keep_copy(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    """Lays a file into Hugging Face's cache as timm's download leaves it."""
    repository = folder / "hub" / f"models--timm--{DEIT.timm}"
    snapshot = repository / "snapshots" / "0123456789abcdef"
    for path in (repository / "refs", snapshot):
        path.mkdir(parents=True)
    (repository / "refs" / "main").write_text(snapshot.name)
    save_file(state, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def test_the_registry_has_the_published_file():
    from timm.models import get_pretrained_cfg

    told = get_pretrained_cfg(DEIT.timm)
    assert told.url == DEIT.url
    assert told.hf_hub_id == f"timm/{DEIT.timm}"
    with torch.device("meta"):
        network = timm.create_model(DEIT.timm, pretrained=False)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert len(shapes) == 155
    assert shapes["pos_embed"] == (1, 578, 768)
    assert shapes["patch_embed.proj.weight"] == (768, 3, 16, 16)
    assert shapes["head_dist.weight"] == (1000, 768)


def test_what_timm_keeps_is_used_without_a_network(caches, deit):
    kept = keep_copy(caches, deit.state_dict())
    assert download.fetch(NAME) == kept
    network = small()
    report = initialise(network, NAME)
    assert report.reinitialised == [key for key in network.state_dict() if key.startswith("head")]
    assert sorted(report.adapted) == [
        "freq_new_pos_embed", "new_pos_embed", "patch_embed.proj.weight", "time_new_pos_embed"
    ]  # fmt: skip
    assert sorted(report.ignored) == ["head.bias", "head.weight", "head_dist.bias", "head_dist.weight"]
    for key in report.loaded:
        assert torch.equal(network.state_dict()[key], deit.state_dict()[key])


def test_the_original_file_in_the_cache_of_torch_is_taken_if_it_is_the_published_one(caches, deit, monkeypatch):
    original = caches / "torch" / "checkpoints" / DEIT.file
    original.parent.mkdir(parents=True)
    content = io.BytesIO()
    torch.save({"model": deit.state_dict()}, content)
    original.write_bytes(content.getvalue())
    assert timm_weights.cached(DEIT) is None
    known = replace(DEIT, sha256=hashlib.sha256(content.getvalue()).hexdigest()[:8])
    monkeypatch.setitem(RELEASES, NAME, known)
    assert download.fetch(NAME) == original
    assert len(initialise(small(), NAME).adapted) == 4


def test_without_any_file_it_is_said_what_to_do():
    with pytest.raises(CheckpointError, match=r"no network.*or have timm keep them: python -c .*create_model\('deit"):
        download.fetch(NAME)


@pytest.mark.parametrize("reached", [True, False])
def test_timm_is_asked_only_where_the_server_refuses(caches, deit, monkeypatch, reached):
    import urllib.error

    def refuse(*_):
        raise urllib.error.HTTPError(DEIT.url, 403, "Forbidden", {}, None) if reached else ConnectionError("no network")

    def create(name, pretrained):
        assert reached
        assert (name, pretrained) == (DEIT.timm, True)
        keep_copy(caches, deit.state_dict())

    monkeypatch.setattr("models.download.transfer", refuse)
    monkeypatch.setattr(timm, "create_model", create)
    if reached:
        assert download.fetch(NAME).name == "model.safetensors"
    else:
        with pytest.raises(CheckpointError):
            download.fetch(NAME)


def test_other_releases_have_nothing_to_do_with_timm():
    passt = RELEASES["passt_s_swa_p16_128_ap476"]
    assert timm_weights.cached(passt) is timm_weights.download(passt) is None
    assert timm_weights.remedy(passt) == ""
