"""A checkpoint rebuilds any network with its front end, also a user's, where the user named the module."""

from __future__ import annotations

import pytest
import torch

from models.checkpoints import CheckpointError, initialise, load_any, load_checkpoint, load_release, save_network
from models.frontends import MusiCNNMel, build
from models.maest import MAEST
from models.mlp import MLP
from models.network import Network
from models.releases import RELEASES, Release
from tests.models.toys import Levels, Toy

ALLOWED = {"tests.models.toys"}
NAME = "tests.models.toys:Toy"
X = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))
SMALL = {"n_classes": 5, "n_frames": 64, "dim": 32, "depth": 1, "heads": 2}


def toy(seed: int = 0, **arguments) -> Toy:
    torch.manual_seed(seed)
    made = Toy(**{"n_classes": 3, **arguments})
    made.norm.running_mean.add_(0.3)
    return made.eval()


def learned(bands: int = 8) -> Levels:
    made = Levels(bands)
    with torch.no_grad():
        made.gains.mul_(torch.arange(bands))
    return made


def test_a_file_of_ours_brings_network_and_learned_front_end_back(tmp_path):
    network, frontend = toy(width=4), learned()
    save_network(tmp_path / "x.safetensors", network, {"labels": ["a", "b", "c"]}, frontend)
    again = load_checkpoint(tmp_path / "x.safetensors", allowed=ALLOWED)
    assert (type(again.network), type(again.frontend)) == (Toy, Levels)
    assert torch.equal(again.network(X), network(X))
    assert torch.equal(again.frontend.gains, frontend.gains)
    assert again.metadata == {
        "labels": ["a", "b", "c"],
        "frontend": {
            "name": "tests.models.toys:Levels",
            "arguments": {"bands": 8},
            "fingerprint": frontend.fingerprint,
        },
    }


@pytest.mark.parametrize("averaged_front_end", [True, False])
def test_a_checkpoint_of_a_training_does_so_too(tmp_path, averaged_front_end):
    plain, averaged, frontend, mean = toy(), toy(1), learned(), Levels()
    state = {f"net.{key}": value for key, value in plain.state_dict().items()}
    state |= {f"net_swa.{key}": value for key, value in averaged.state_dict().items()}
    state |= {f"inputs.frontend.{key}": value for key, value in frontend.state_dict().items()}
    if averaged_front_end:
        state |= {f"inputs_swa.frontend.{key}": value for key, value in mean.state_dict().items()}
    about = {"class": NAME, "network": plain.hyperparameters, "frontend": frontend.description, "task": "tagging"}
    torch.save({"state_dict": state, "hyper_parameters": about}, tmp_path / "last.ckpt")
    found = load_checkpoint(tmp_path / "last.ckpt", allowed=ALLOWED)
    assert torch.equal(found.network(X), averaged(X))
    assert torch.equal(found.frontend.gains, (mean if averaged_front_end else frontend).gains)
    assert found.metadata == {"frontend": frontend.description, "task": "tagging"}
    found = load_checkpoint(tmp_path / "last.ckpt", averaged=False, allowed=ALLOWED)
    assert torch.equal(found.network(X), plain(X))
    assert torch.equal(found.frontend.gains, frontend.gains)


def test_no_module_of_a_user_is_imported_because_a_file_says_so(tmp_path):
    save_network(tmp_path / "x.safetensors", toy(), {}, Levels())
    with pytest.raises(
        CheckpointError, match=r"x\.safetensors: cannot find its network: .*model\.network=tests\.models\.toys:Toy"
    ):
        load_any(tmp_path / "x.safetensors")
    save_network(tmp_path / "y.safetensors", MAEST(**SMALL), {}, Levels())
    with pytest.raises(
        CheckpointError,
        match=r"y\.safetensors: cannot make its front end: .*model\.frontend=tests\.models\.toys:Levels",
    ):
        load_checkpoint(tmp_path / "y.safetensors")


@pytest.mark.parametrize("variant", ["musicnn", "musicnn_torch"])
def test_files_from_before_front_ends_had_names_hold_a_fingerprint(tmp_path, variant):
    save_network(tmp_path / "x.safetensors", MAEST(**SMALL), {"frontend": build(variant).fingerprint})
    assert load_checkpoint(tmp_path / "x.safetensors").frontend.name == variant
    save_network(tmp_path / "x.safetensors", MAEST(**SMALL), {})
    assert load_checkpoint(tmp_path / "x.safetensors").frontend.name == "musicnn"
    save_network(tmp_path / "x.safetensors", MAEST(**SMALL), {"frontend": "0123456789abcdef"})
    with pytest.raises(CheckpointError, match="features '0123456789abcdef' are of none that this version has"):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["mlp:MLP", "models.mlp:MLP"])
def test_earlier_names_of_classes_are_read(tmp_path, name):
    network = MLP(8, 3)
    state = {f"net.{key}": value for key, value in network.state_dict().items()}
    about = {"network_class": name, "network": network.hyperparameters}
    torch.save({"state_dict": state, "hyper_parameters": about}, tmp_path / "last.ckpt")
    assert type(load_any(tmp_path / "last.ckpt")[0]) is MLP


def test_a_front_end_that_changed_is_refused(tmp_path):
    about = {**MusiCNNMel().description, "fingerprint": "0123456789abcdef"}
    save_network(tmp_path / "x.safetensors", MAEST(**SMALL), {"frontend": about})
    with pytest.raises(
        CheckpointError, match="trained on features 0123456789abcdef of the front end musicnn, which makes e96ba"
    ):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"name": "musicn"}, "unknown front end 'musicn'; did you mean 'musicnn'"),
        ({"name": "musicnn", "arguments": {"bands": 3}}, "front end musicnn: .*unexpected keyword argument 'bands'"),
        (
            {"name": "tests.models.toys:Levels", "arguments": {"bands": 7}},
            "gains absent in the file, gains .7. described",
        ),
        ({"arguments": {}}, "expected a front end's name and arguments"),
        ({"name": "musicnn", "arguments": {"variant": ["essentia"] * 9999}}, "expected a short list"),
        (5, "frontend is 5, expected"),
    ],
)
def test_a_front_end_that_cannot_be_made_is_named(tmp_path, about, why):
    save_network(tmp_path / "x.safetensors", MAEST(**SMALL), {"frontend": about})
    with pytest.raises(CheckpointError, match=rf"x\.safetensors.*{why}"):
        load_checkpoint(tmp_path / "x.safetensors", allowed=ALLOWED)


def test_a_network_that_cannot_be_imported_again_is_not_saved(tmp_path):
    class Here(Network):
        """In a function."""

    with pytest.raises(CheckpointError, match="Here cannot be imported again: define it at the top of a module"):
        save_network(tmp_path / "x.safetensors", Here(), {})


def test_starting_from_weights_of_the_same_network(tmp_path):
    source, frontend = toy(1), learned()
    save_network(tmp_path / "x.safetensors", source, {}, frontend)
    network, fresh = toy(), Levels()
    report = initialise(network, tmp_path / "x.safetensors", frontend=fresh)
    assert torch.equal(network(X), source(X))
    assert torch.equal(fresh.gains, frontend.gains)
    assert set(report.loaded) == {*source.state_dict(), "frontend.gains"}


def test_a_head_of_other_classes_is_left_out_or_fitted_by_their_names(tmp_path):
    source = toy(1, n_classes=4)
    save_network(tmp_path / "x.safetensors", source, {"labels": ["a", "b", "c", "d"]})
    network = toy()
    before = network.head.weight.detach().clone()
    report = initialise(network, tmp_path / "x.safetensors")
    assert sorted(report.ignored) == sorted(report.reinitialised) == ["head.bias", "head.weight"]
    assert torch.equal(network.head.weight, before)
    assert torch.equal(network.conv.weight, source.conv.weight)
    report = initialise(network, tmp_path / "x.safetensors", labels=["d", "new", "b"])
    assert torch.equal(network.head.weight[0], source.head.weight[3])
    assert torch.equal(network.head.weight[1], before[1])
    assert torch.equal(network.head.weight[2], source.head.weight[1])
    assert report.adapted["head.bias"] == "2 of 3 classes by name, the others random"
    same = toy(2, n_classes=4)
    assert "head.weight" in initialise(same, tmp_path / "x.safetensors", discard_head=True).ignored
    assert not torch.equal(same.head.weight, source.head.weight)


def test_whatever_else_differs_is_an_error_that_names_it(tmp_path):
    save_network(tmp_path / "x.safetensors", toy(width=5), {})
    network = toy()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"conv\.bias has the shape \[5\], the network expects \[6\]; build"):
        initialise(network, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"positions='crop' means nothing to the network tests\.models\.toys:Toy"):
        initialise(network, tmp_path / "x.safetensors", positions="crop")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("form", ["own", "published"])
def test_weights_of_another_network_are_said_to_be_so(tmp_path, form):
    maest = MAEST(**SMALL)
    if form == "own":
        save_network(tmp_path / "x.safetensors", maest, {})
    else:
        torch.save(maest.state_dict(), tmp_path / "x.safetensors".replace("safetensors", "pt"))
    (file,) = tmp_path.iterdir()
    with pytest.raises(
        CheckpointError, match=rf"{file.name} holds weights of the network maest, which do not fit {NAME}: "
    ):
        initialise(toy(), file)
    save_network(tmp_path / "toy.safetensors", toy(), {})
    with pytest.raises(CheckpointError, match=f"holds weights of the network {NAME}, which do not fit maest"):
        initialise(maest, tmp_path / "toy.safetensors")


def test_an_argument_that_the_network_of_a_file_does_not_have(tmp_path):
    save_network(tmp_path / "x.safetensors", toy(), {})
    with pytest.raises(CheckpointError, match=r"the network tests\.models\.toys:Toy has no argument s_patchout_t"):
        load_any(tmp_path / "x.safetensors", allowed=ALLOWED, s_patchout_t=3)


def test_a_release_can_be_of_any_network(tmp_path, monkeypatch):
    network = MLP(8, 3)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    row = Release(
        "small", "https://nowhere/weights.pt", "", None, "models.mlp:MLP", network.hyperparameters, 3, 1, "own"
    )
    monkeypatch.setitem(RELEASES, "small", row)
    monkeypatch.setattr("models.checkpoints.fetch", lambda name, hint: tmp_path / "weights.pt")
    loaded, report = load_release("small")
    assert torch.equal(loaded(X[0]), network.eval()(X[0]))
    assert len(report.loaded) == 4


def test_a_published_layout_is_recognised_by_the_network_that_knows_it(tmp_path, monkeypatch):
    def from_published(state):
        if "theirs.weight" not in state:
            return None
        own = {"net.0.weight": state["theirs.weight"], **{key: state[key] for key in state if key.startswith("net.")}}
        return {"n_in": 8, "n_out": 3, "hidden": 512, "dropout": 0.5}, own, {"labels": ["a", "b", "c"]}

    network = MLP(8, 3).eval()
    state = network.state_dict()
    state["theirs.weight"] = state.pop("net.0.weight")
    torch.save(state, tmp_path / "published.pt")
    monkeypatch.setattr(MLP, "from_published", staticmethod(from_published))
    for module in ("networks", "own_classes"):
        monkeypatch.setattr(f"models.{module}.named_classes", lambda *_: {"mlp": "models.mlp:MLP"})
    loaded, metadata = load_any(tmp_path / "published.pt")
    assert torch.equal(loaded(X[0]), network(X[0]))
    assert metadata == {"labels": ["a", "b", "c"]}
    start = MLP(8, 2)
    report = initialise(start, tmp_path / "published.pt", labels=["c", "a"])
    assert torch.equal(start.net[0].weight, network.net[0].weight)
    assert report.ignored == []
