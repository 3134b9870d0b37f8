"""Files of weights: read in every layout, rebuilt from themselves, refused with a reason."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import PurePosixPath

import pytest
import torch
from safetensors.torch import save_file

from models import checkpoints, networks
from models.checkpoints import CheckpointError, initialise, load_any, load_checkpoint, read_weights, save_network
from models.frontends import build
from models.maest import MAEST
from models.releases import RELEASES

SETTINGS = {"n_classes": 5, "n_frames": 125, "dim": 32, "depth": 2, "heads": 2, "s_patchout_t": 3}
X = torch.linspace(-1, 1, 96 * 125).reshape(1, 125, 96)


@pytest.fixture
def network() -> MAEST:
    return fresh(0)


def fresh(seed: int, **overrides) -> MAEST:
    torch.manual_seed(seed)
    return MAEST(**{**SETTINGS, **overrides}).eval()


def prefixed(network: MAEST, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in network.state_dict().items()}


def test_a_saved_network_rebuilds_itself(network, tmp_path):
    metadata, frontend = {"labels": ["Rock---Punk", "Jazz---Bebop"]}, build("musicnn_torch")
    path = tmp_path / "new" / "network.safetensors"
    save_network(path, network, metadata, frontend)
    again = load_checkpoint(path)
    assert again.metadata == {**metadata, "frontend": frontend.description}
    assert (again.frontend.name, again.frontend.fingerprint) == ("musicnn_torch", frontend.fingerprint)
    assert not again.network.training
    assert again.network.hyperparameters == network.hyperparameters
    assert torch.equal(again.network(X), network(X))
    assert [file.name for file in path.parent.iterdir()] == ["network.safetensors"]
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode
    changed, _ = load_any(path, s_patchout_t_interleaved=2)
    assert changed.count_tokens() < network.count_tokens()


def test_saving_replaces_in_one_step(network, tmp_path):
    path = tmp_path / "network.safetensors"
    save_network(path, network, {})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_network(path, fresh(1), {"loss": float("nan")})
    assert path.read_bytes() == before


def test_lightning_checkpoints_prefer_averaged_weights(network, tmp_path):
    averaged, path = fresh(1), tmp_path / "last.ckpt"
    content = {
        "state_dict": {
            **prefixed(network, "net."),
            **prefixed(averaged, "net_swa."),
            "criterion.weight": torch.ones(1),
        },
        "hyper_parameters": {"network": network.hyperparameters, "labels": ["a"], "frontend": "e96ba6b760d89e57"},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 1e-3}]}],
    }
    torch.save(content, path)
    for choice, expected in ((None, averaged), (True, averaged), (False, network)):
        loaded, metadata = load_any(path, averaged=choice)
        assert torch.equal(loaded(X), expected(X))
        assert metadata == {"labels": ["a"], "frontend": "e96ba6b760d89e57"}
        other = fresh(2)
        report = initialise(other, path, averaged=choice)
        assert torch.equal(other(X), expected(X))
        assert len(report.loaded) == len(network.state_dict())


def test_lightning_checkpoints_without_the_wanted_prefix(network, tmp_path):
    torch.save({"state_dict": prefixed(network, "net.")}, tmp_path / "plain.ckpt")
    torch.save({"state_dict": prefixed(network, "encoder.")}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"starts with net_swa\.; it has net\."):
        read_weights(tmp_path / "plain.ckpt", averaged=True)
    with pytest.raises(
        CheckpointError, match=r"starts with net_swa\. or net\.; it has neither \(first key: encoder\.cls"
    ):
        initialise(network, tmp_path / "other.ckpt")


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state}], ids=["flat", "model"])
def test_flat_and_wrapped_dictionaries(network, tmp_path, wrap):
    torch.save(wrap(network.state_dict()), tmp_path / "weights.pt")
    other = fresh(3)
    report = initialise(other, tmp_path / "weights.pt")
    assert torch.equal(other(X), network(X))
    assert "weights.pt" in report.source


def test_a_file_in_the_published_layout_tells_its_network(tmp_path):
    published = fresh(0, n_classes=400, n_frames=1875, time_positions=187, dim=128, s_patchout_t=0)
    state = {**published.state_dict(), "melspectrogram.spec.window": torch.ones(512)}
    torch.save(state, tmp_path / "discogs.ckpt")
    loaded, metadata = load_any(tmp_path / "discogs.ckpt")
    assert metadata == {}
    assert loaded.hyperparameters == {**published.hyperparameters, "mlp_ratio": 4.0}
    assert torch.equal(loaded(X), published(X))


@pytest.mark.parametrize(
    ("rows", "positions", "bands", "frames", "stride"),
    [
        (12, 99, 128, 998, 10),
        (10, 83, 128, 998, 12),
        (9, 71, 128, 998, 14),
        (8, 62, 128, 998, 16),
        (12, 300, 128, 3000, 10),
    ],
)
def test_the_grid_of_a_passt_file_tells_its_stride(tmp_path, rows, positions, bands, frames, stride):
    shape = {"n_bands": bands, "n_frames": frames, "stride_f": stride, "stride_t": stride, "time_positions": positions}
    published = MAEST(n_classes=527, dim=64, depth=1, heads=1, **shape)
    assert published.grid == (rows, positions)
    torch.save(published.state_dict(), tmp_path / "passt.pt")
    loaded, _ = load_any(tmp_path / "passt.pt")
    assert loaded.hyperparameters == {**published.hyperparameters, "mlp_ratio": 4.0}


def test_nothing_but_tensors_and_plain_values_is_unpickled(network, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code in a checkpoint was run",))

    torch.save({"state_dict": {"net.x": torch.ones(1)}, "trap": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(CheckpointError, match=r"trap\.ckpt .*values.*, and is not loaded for safety") as refused:
        read_weights(tmp_path / "trap.ckpt")
    assert "weights_only" not in str(refused.value)  # torch's message tells how to run the code
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(PurePosixPath("x"), protocol=2))
    with pytest.raises(CheckpointError, match=r"raw\.pt"):
        read_weights(tmp_path / "raw.pt")


def write_text(path):
    path.write_text("not weights")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.pt", lambda path: None, "neither a file nor a release; the releases are discogs-maest-5s"),
        ("text.pt", write_text, r"text\.pt is not a file of weights: .*name a checkpoint"),
        ("safe.pt", lambda path: save_file({"a": torch.ones(1)}, path), "the ending .safetensors"),
        ("text.safetensors", write_text, "not a readable safetensors file"),
        ("list.pt", lambda path: torch.save([1], path), "holds a list, expected a dictionary"),
        ("numbers.pt", lambda path: torch.save({"a": 1}, path), "expected tensors by name, found a"),
        ("empty.pt", lambda path: torch.save({}, path), "found nothing"),
        ("other.safetensors", lambda path: save_file({"a": torch.ones(1)}, path), "unexpected a; "),
    ],
)
def test_unreadable_files_leave_the_network_alone(network, tmp_path, name, write, message):
    write(tmp_path / name)
    before = network(X)
    with pytest.raises(CheckpointError, match=message):
        initialise(network, tmp_path / name)
    assert torch.equal(network(X), before)


def test_files_that_do_not_tell_their_network(network, tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="does not tell what network it is of"):
        load_any(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"class": "os:system"}, "module os, which is only imported where you name it.*model.network=os:system"),
        ({"class": "mast"}, "unknown network 'mast'; did you mean 'maest'"),
        ({"network_class": "os:system"}, "module os, which is only imported where you name it"),
        ({"network_class": "models.maest:grid_size"}, "is no subclass of models.network.Network"),
        ({"network_class": "../maest:MAEST"}, "unknown network '../maest:MAEST'"),
        ({"network": {"width": 3}}, "the network maest has no argument width"),
        ({"network": {"dim": 5}}, "cannot build maest"),
        ({"network": {**SETTINGS, "depth": 3}}, "do not fit its own description"),
    ],
)
def test_descriptions_that_cannot_be_followed(network, tmp_path, header, message):
    content = {"state_dict": prefixed(network, "net."), "hyper_parameters": {"network": SETTINGS, **header}}
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=message):
        load_any(tmp_path / "last.ckpt")


def test_only_networks_of_ours_are_saved(tmp_path):
    with pytest.raises(CheckpointError, match="Linear cannot rebuild itself"):
        save_network(tmp_path / "x.safetensors", torch.nn.Linear(2, 2), {})


def test_releases_are_complete_and_fit_their_networks():
    assert len(RELEASES) == 20
    assert len({release.file for release in RELEASES.values()}) == 19  # two are of one wheel
    for name, release in RELEASES.items():
        assert release.url.startswith("https://")
        assert set(release.sha256) <= set("0123456789abcdef")
        assert release.licence
        assert release.huggingface == (f"mtg-upf/{name}" if name.startswith("discogs-maest") else None)
        if release.network is None:
            continue
        assert len(release.sha256) == hashlib.sha256().digest_size * 2
        if release.package:
            assert len(release.metadata["labels"]) == release.classes
            continue
        with torch.device("meta"):
            network = networks.find(release.network)(**release.arguments)
        frames = network.n_frames if release.network == "maest" else network.window
        assert (network.n_classes, frames) == (release.classes, release.frames)
        assert not release.metadata or len(release.metadata["labels"]) == release.classes
        bytes_of_weights = 4 * sum(tensor.numel() for tensor in network.state_dict().values())
        assert 0 < release.bytes - bytes_of_weights < 150_000, name


def test_image_networks_are_initial_weights_only():
    with pytest.raises(CheckpointError, match="is an image network"):
        checkpoints.load_release("passt_deit_bd_p16_384")
    with pytest.raises(CheckpointError, match="there is no release 'maest'; choose one of discogs"):
        checkpoints.load_release("maest")


def test_a_release_is_loaded_strictly(tmp_path, monkeypatch):
    published = MAEST(n_frames=312, time_positions=31)
    torch.save(published.state_dict(), tmp_path / "weights.ckpt")
    monkeypatch.setattr(checkpoints, "fetch", lambda name, hint: tmp_path / "weights.ckpt")
    network, report = checkpoints.load_release("discogs-maest-5s-pw-129e", s_patchout_f_interleaved=2)
    assert len(report.loaded) == 159
    assert (report.adapted, report.reinitialised, report.ignored) == ({}, [], [])
    assert not network.training
    assert network.count_tokens() == 5 * 30 + 2


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_an_exported_program_is_no_checkpoint(tmp_path, suffix):
    file = tmp_path / f"net{suffix}"
    file.write_bytes(b"program")
    with pytest.raises(CheckpointError, match=r"(onnxruntime|torch\.export\.load); give the run or the file that"):
        load_any(file)
