"""Published files of CLMR and TUNe, written here: they load strictly, and what is wrong in one is named."""

from __future__ import annotations

import argparse
import hashlib
import http.server
import threading
import zipfile
from functools import partial

import pytest
import torch

from models.checkpoints import CheckpointError, initialise, load_checkpoint, save_network
from models.clmr import CLMR
from models.heads import with_head
from models.tune import TUNe
from models.weight_urls import fetch_url
from tests.models import contrastive_files as files

ENCODERS = {"clmr": files.clmr, "tune": files.tune, "tune_plus": partial(files.tune, plus=True)}
AUDIO = 0.1 * torch.randn(1, 59_049, generator=torch.Generator().manual_seed(3))


def by_definition(state: dict) -> torch.Tensor:
    with torch.no_grad():
        if "sequential.0.0.weight" in state:
            return files.clmr_by_definition(state, AUDIO)
        return files.tune_by_definition(state, AUDIO)["convDown9"].mean(2)


def representation(network) -> torch.Tensor:
    with torch.no_grad():
        return network.embed(AUDIO, [network.default_layer])[network.default_layer][:, 0]


@pytest.fixture(params=ENCODERS)
def encoder(request) -> dict:
    return ENCODERS[request.param]()


def test_a_lightning_checkpoint_is_an_encoder_without_outputs(encoder, tmp_path):
    content = files.lightning(encoder)
    assert len(content["state_dict"]) == (156 if "sequential.0.0.weight" in encoder else 270)
    torch.save(content, tmp_path / "epoch=10000.ckpt")
    found = load_checkpoint(tmp_path / "epoch=10000.ckpt")
    assert isinstance(found.network, CLMR if "sequential.0.0.weight" in encoder else TUNe)
    assert (found.network.n_classes, found.frontend.name, found.frontend.sample_rate) == (0, "waveform", 22_050)
    assert (representation(found.network) - by_definition(encoder)).abs().max() < 1e-4


def test_the_family_is_told_by_the_tail(tmp_path):
    for plus in (False, True):
        torch.save(files.lightning(files.tune(plus)), tmp_path / "x.ckpt")
        assert load_checkpoint(tmp_path / "x.ckpt").network.hyperparameters == {
            "n_classes": 0,
            "width": 11,
            "levels_down": 4,
            "levels_up": 4,
            "tail": [22, 44, 88, 176, 352, 352, 352, 352],
            "size": 512,
            "connections": plus,
            "hidden": 0,
        }


@pytest.mark.parametrize("oldest", [False, True])
def test_files_of_the_first_version_load(oldest, tmp_path):
    torch.save(files.first_version(files.clmr(), oldest), tmp_path / "clmr.pt")
    network = load_checkpoint(tmp_path / "clmr.pt").network
    assert (representation(network) - by_definition(files.clmr())).abs().max() < 1e-4


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_head_is_put_on_an_encoder(prefix, hidden, tmp_path):
    state, head = files.head(hidden, prefix=prefix), files.head(hidden)
    torch.save({"state_dict": state} if prefix else state, tmp_path / "head.ckpt")
    torch.save(files.lightning(files.clmr()), tmp_path / "encoder.ckpt")
    network = with_head(load_checkpoint(tmp_path / "encoder.ckpt").network, tmp_path / "head.ckpt")
    expected = by_definition(files.clmr())
    for name in ("0", "2") if hidden else ("0",):
        expected = expected.relu() @ head[f"{name}.weight"].T + head[f"{name}.bias"]
    with torch.no_grad():
        assert (network(AUDIO) - expected).abs().max() < 1e-4
    save_network(tmp_path / "both.safetensors", network, {})
    again = load_checkpoint(tmp_path / "both.safetensors").network
    with torch.no_grad():
        assert torch.equal(again(AUDIO), network(AUDIO))


def test_a_file_of_encoder_and_head_is_a_whole_network(tmp_path):
    state = {f"encoder.{key}": tensor for key, tensor in files.clmr().items()} | files.head(prefix="model.")
    torch.save({"state_dict": state}, tmp_path / "finetuner.ckpt")
    assert load_checkpoint(tmp_path / "finetuner.ckpt").network.n_classes == 50


PLACES = {"clmr": "sequential.4.0.weight", "tune": "convDown1.layers.0.weight", "tune_plus": "transposedConv7.bias"}


def changed(state: dict, name: str, how: str) -> dict:
    tensor = state.pop(name)
    if how == "renamed":
        state[f"{name}s"] = tensor
    if how == "misshaped":
        state[name] = torch.zeros(*tensor.shape[:-1], tensor.shape[-1] + 1)
    return state


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("how", ["missing", "renamed", "misshaped"])
@pytest.mark.parametrize("layout", ["lightning", "first version", "bare"])
def test_an_entry_that_is_not_right_is_named(name, how, layout, tmp_path):
    state, place = ENCODERS[name](), PLACES[name]
    prefix = {"lightning": "model.encoder.", "first version": "encoder.", "bare": ""}[layout]
    if layout == "lightning":
        content = files.lightning(state)
        changed(content["state_dict"], prefix + place, how)
    else:
        content = changed(files.first_version(state) if prefix else state, prefix + place, how)
    torch.save(content, tmp_path / "x.ckpt")
    said = {
        "missing": rf"missing {prefix}{place}",
        "renamed": rf"missing {prefix}{place}; unexpected {prefix}{place}s",
        "misshaped": rf"{prefix}{place} has the shape \[.*\], expected \[",
    }
    with pytest.raises(CheckpointError, match=rf"x\.ckpt.*{said[how]}"):
        load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    "name", ["convDown1.layers.0.weight", "conv1.layers.1.weight", "transposedConv9999999.weight", "convDown99999999."]
)
def test_a_file_of_such_names_alone_is_refused(name, tmp_path):
    lone = {"conv1.layers.0.bias": torch.zeros(3), f"{name}layers.0.bias" if name[-1] == "." else name: torch.zeros(3)}
    torch.save(lone, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt.*not the tensors of TUNe"):
        load_checkpoint(tmp_path / "x.pt")


def test_in_the_oldest_files_it_is_named_as_there(tmp_path):
    content = files.first_version(files.clmr(), oldest=True)
    del content["encoder.conv5.1.running_var"]
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"missing encoder\.conv5\.1\.running_var"):
        load_checkpoint(tmp_path / "x.pt")


def test_what_a_head_lacks_or_has_too_large_is_named(tmp_path):
    encoder = CLMR(n_classes=0)
    for how, said in {
        "missing": "missing 2.bias",
        "larger": r"2.weight has the shape \[50, 511\]",
        "other encoder": r"0.weight is \[50, 256\], expected \[50, 512\]",
        "none": "holds no head",
    }.items():
        state = files.head(hidden=how in ("missing", "larger"))
        if how == "missing":
            del state["2.bias"]
        if how == "larger":
            state["2.weight"] = state["2.weight"][:, 1:]
        if how == "other encoder":
            state["0.weight"] = state["0.weight"][:, ::2]
        torch.save({"x": torch.zeros(1)} if how == "none" else state, tmp_path / "head.pt")
        with pytest.raises(CheckpointError, match=said.replace(".", r"\.") if "[" not in said else said):
            with_head(encoder, tmp_path / "head.pt")


def test_settings_of_a_program_in_the_file_are_refused_and_not_run(tmp_path):
    content = files.lightning(files.clmr()) | {"hyper_parameters": argparse.Namespace(batch_size=48)}
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace.*not loaded for safety; save its state_dict alone"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_an_archive_of_such_a_file_is_to_be_unpacked(tmp_path):
    torch.save(files.head(), tmp_path / "head.ckpt")
    with zipfile.ZipFile(tmp_path / "published.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "head.ckpt", "head.ckpt")
    with pytest.raises(CheckpointError, match=r"published\.zip is an archive of 'head\.ckpt': unpack it"):
        load_checkpoint(tmp_path / "published.zip")


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_training_starts_from_an_encoder_with_a_new_head(hidden, encoder, tmp_path):
    torch.save(files.lightning(encoder), tmp_path / "x.ckpt")
    connections = (
        {"connections": True} if encoder.get("convDown1.layers.0.weight", torch.empty(0, 0)).shape[1] == 33 else {}
    )
    network = (CLMR if "sequential.0.0.weight" in encoder else TUNe)(n_classes=7, hidden=hidden, **connections).eval()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    report = initialise(network, tmp_path / "x.ckpt")
    assert (representation(network) - by_definition(encoder)).abs().max() < 1e-4
    (head,) = network.head_prefixes
    of_head = [key for key in before if key.startswith(head)]
    assert report.reinitialised == of_head
    assert not report.ignored
    assert all(torch.equal(before[key], network.state_dict()[key]) for key in of_head)


def test_a_file_at_an_address_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "server"
    folder.mkdir()
    torch.save(files.lightning(files.tune()), folder / "tune.ckpt")
    digest = hashlib.sha256((folder / "tune.ckpt").read_bytes()).hexdigest()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/tune.ckpt"
        assert isinstance(load_checkpoint(fetch_url(f"{url}#sha256={digest}")).network, TUNe)
        with pytest.raises(CheckpointError, match=f"the file has the SHA-256 {digest}, expected 0000"):
            fetch_url(url, "0" * 64)
        server.shutdown()
