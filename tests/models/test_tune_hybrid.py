"""The hybrid of TUNe's paper against its definition: size, names, what is frozen, where its SampleCNN comes from."""

from __future__ import annotations

import re

import pytest
import torch

from models.checkpoints import CheckpointError, initialise, load_checkpoint, save_network
from models.clmr import CLMR
from models.heads import with_head
from models.tune import TUNe
from models.tune_hybrid import TUNeHybrid
from tests.models import contrastive_files as files
from tests.models.taggers import with_statistics

NARROW = [4] * 11
SMALL = {"width": 2, "channels": NARROW}
OF_UNET = tuple(f"conv{number}" for number in range(1, 10))
OF_SAMPLECNN = tuple(f"layer{number}" for number in range(1, 12))


def audio(samples: int = 59_049, batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(1))


def made(**arguments) -> TUNeHybrid:
    torch.manual_seed(0)
    return TUNeHybrid(**{**SMALL, **arguments})


def inner(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of the SampleCNN in a hybrid."""
    return {key.removeprefix("samplecnn."): tensor for key, tensor in state.items() if key.startswith("samplecnn.")}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_it_has_as_many_parameters_as_the_published_one():
    with torch.device("meta"):
        sizes = [sum(one.numel() for one in TUNeHybrid(n_classes=n).parameters()) for n in (50, 0)]
    assert sizes == [2_548_155, 2_548_155 - 50 * 513]


def test_names_and_shapes_are_those_of_a_unet_and_a_whole_samplecnn():
    with torch.device("meta"):
        state, unet = TUNeHybrid().state_dict(), TUNe(width=10).state_dict()
        samplecnn = CLMR().state_dict()
    own = {key: tensor.shape for key, tensor in unet.items() if re.match(r"(c|transposedC)onv\d", key)}
    own |= {key: (1, *shape[1:]) if shape else shape for key, shape in own.items() if key.startswith("conv9.")}
    own |= {f"samplecnn.{key}": tensor.shape for key, tensor in samplecnn.items()}
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == {key: tuple(own[key]) for key in own}
    assert list(state) == list(own)


def test_every_layer_gives_what_unet_and_samplecnn_give_one_behind_the_other():
    network, published = made(n_classes=0, channels=files.CLMR_CHANNELS), files.clmr()
    state, _ = network.fit_weights(published, "file")
    network.load_state_dict(state)
    for name in OF_UNET:
        with_statistics(network.layer(name))
    layers = [*OF_UNET, *OF_SAMPLECNN]
    assert list(network.layer_names) == layers
    assert network.default_layer == "layer11"
    network.eval()
    with torch.no_grad():
        of_unet = files.unet_by_definition(network.state_dict(), audio())
        assert of_unet["conv9"].shape == (2, 1, 59_049)
        tokens = network.embed(audio(), layers)
        for name in OF_UNET:
            assert (tokens[name][:, 0] - of_unet[name].mean(2)).abs().max() < 1e-4
        expected = files.clmr_by_definition(published, of_unet["conv9"][:, 0])
        assert (tokens["layer11"][:, 0] - expected).abs().max() < 1e-4
        assert expected.std() > 0.1
        for name in ("conv2", "conv9", "layer1"):
            assert torch.equal(network.embed(audio(), [name])[name], tokens[name])


@pytest.mark.parametrize("shape", [(1, 59_048), (1, 59_050), (1, 118_098), (1, 1, 59_049)])
@pytest.mark.parametrize("layer", ["conv2", "layer2"])
def test_any_other_length_or_channel_is_refused_with_the_one_that_is_expected(shape, layer):
    with pytest.raises(ValueError, match=r"expected \[batch, 59049\]"):
        made().embed(torch.zeros(shape), [layer])


@pytest.mark.parametrize("given", [[4] * 10, [4] * 10 + [0]])
def test_other_layers_are_refused(given):
    with pytest.raises(ValueError, match="11 numbers of at least 1"):
        TUNeHybrid(channels=given)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_trained_has_gradients_and_what_is_frozen_has_none(frozen):
    network = made(n_classes=3, freeze_samplecnn=frozen).train()
    network(audio()).square().sum().backward()
    for name, parameter in network.named_parameters():
        trained = not frozen or not name.startswith("samplecnn.layer")
        assert (parameter.grad is not None) == trained, name
        if trained and not re.search(r"(conv|layers\.0)\.bias$", name):  # which batch norm takes away
            assert parameter.grad.abs().sum() > 0, name


def test_a_frozen_samplecnn_keeps_its_statistics_and_its_dropout():
    network = made(freeze_samplecnn=True)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert network.samplecnn.dropout.training  # from the beginning
    network.eval().train()
    network(audio())
    changed = {key.partition(".")[0] for key, tensor in network.state_dict().items() if not tensor.equal(before[key])}
    assert changed == set(OF_UNET)
    assert network.samplecnn.dropout.training
    assert not network.eval().samplecnn.dropout.training


def test_frozen_or_not_it_is_the_same_network():
    with torch.no_grad():
        assert torch.equal(made().eval()(audio()), made(freeze_samplecnn=True).eval()(audio()))


def test_depths_are_those_of_both():
    layers = made().parameter_layers()
    assert [len(layer) for layer in layers] == [0, *[4] * 5, *[6] * 4, *[4] * 11, 2]
    assert "transposedConv6.weight" in layers[6]
    assert "samplecnn.layer1.conv.weight" in layers[10]


@pytest.mark.parametrize("layout", [files.lightning, files.first_version, dict])
def test_its_samplecnn_starts_from_a_published_one(layout, tmp_path):
    torch.save(layout(files.clmr()), tmp_path / "clmr.ckpt")
    network = made(n_classes=3, channels=files.CLMR_CHANNELS)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    report = initialise(network, tmp_path / "clmr.ckpt")
    expected = load_checkpoint(tmp_path / "clmr.ckpt").network.state_dict()
    taken, kept = inner(network.state_dict()), network.state_dict()
    assert all(torch.equal(taken[key], expected[key]) for key in expected if not key.startswith("dense."))
    assert all(torch.equal(kept[key], before[key]) for key in kept if not key.startswith("samplecnn.layer"))
    assert len(report.loaded) == 77
    said = str(report).splitlines()
    assert said[1] == "  new head: samplecnn.dense"
    assert said[2].startswith("  random: conv1, conv2, conv3, conv4, conv5, transposedConv6, conv6, ")


def test_its_samplecnn_and_head_start_from_one_that_was_trained_here(tmp_path):
    trained = with_statistics(CLMR(n_classes=3, channels=NARROW, hidden=5))
    save_network(tmp_path / "clmr.safetensors", trained, {})
    network = made(n_classes=3, hidden=5)
    initialise(network, tmp_path / "clmr.safetensors")
    assert equal(inner(network.state_dict()), trained.state_dict())
    initialise(network := made(n_classes=2), tmp_path / "clmr.safetensors", discard_head=True)
    assert torch.equal(network.samplecnn.layer11.conv.weight, trained.layer11.conv.weight)


def test_a_whole_hybrid_starts_from_a_whole_one(tmp_path):
    trained = with_statistics(made(n_classes=3))
    save_network(tmp_path / "x.safetensors", trained, {})
    network = made(n_classes=3, freeze_samplecnn=True)
    assert not initialise(network, tmp_path / "x.safetensors").reinitialised
    assert equal(network.state_dict(), trained.state_dict())


def lightning(state: dict[str, torch.Tensor]) -> dict:
    """A checkpoint of a training of the SampleCNN here."""
    about = {"class": "clmr", "network": {"n_classes": 3, "channels": NARROW}}
    return {"state_dict": {f"net.{key}": tensor for key, tensor in state.items()}, "hyper_parameters": about}


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("layer5.bn.running_mean", None, r"missing samplecnn\.layer5\.bn\.running_mean; "),
        ("layer12.conv.bias", torch.zeros(4), r"unexpected samplecnn\.layer12\.conv\.bias; "),
        ("layer5.conv.bias", torch.zeros(5), r"samplecnn\.layer5\.conv\.bias has the shape \[5\].* expects \[4\]"),
        ("layer5.conv.bias", torch.full((4,), torch.nan), r"samplecnn\.layer5\.conv\.bias holds NaN"),
    ],
)
def test_a_samplecnn_that_is_not_complete_or_of_another_size_is_refused(name, tensor, said, tmp_path):
    state = CLMR(n_classes=3, channels=NARROW).state_dict()
    state = {**state, name: tensor} if tensor is not None else {key: state[key] for key in state if key != name}
    torch.save(lightning(state), tmp_path / "x.ckpt")
    network = made(n_classes=3)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"x\.ckpt.*{said}"):
        initialise(network, tmp_path / "x.ckpt")
    assert equal(network.state_dict(), before)


def test_a_published_one_that_is_not_complete_is_refused_by_its_own_names(tmp_path):
    published = files.clmr()
    del published["sequential.4.0.weight"]
    torch.save(files.lightning(published), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt.*missing model\.encoder\.sequential\.4\.0\.weight"):
        initialise(made(channels=files.CLMR_CHANNELS), tmp_path / "x.ckpt")


def test_hybrid_and_tune_are_told_apart(tmp_path):
    save_network(tmp_path / "tune.safetensors", TUNe(width=2, tail=[4], size=4), {})
    with pytest.raises(CheckpointError, match=r"holds weights of the network tune, .*choose model\.network=tune"):
        initialise(made(), tmp_path / "tune.safetensors")
    save_network(tmp_path / "hybrid.safetensors", made(), {})
    with pytest.raises(CheckpointError, match=r"weights of the network tune_hybrid, .*choose model\.network=tune_h"):
        initialise(TUNe(width=2), tmp_path / "hybrid.safetensors")


@pytest.mark.parametrize("hidden", [False, True])
def test_a_head_from_a_file_is_put_on_it(hidden, tmp_path):
    network = made(n_classes=0, channels=[*[4] * 10, 512]).eval()
    torch.save(files.head(hidden), tmp_path / "head.ckpt")
    whole = with_head(network, tmp_path / "head.ckpt")
    head = files.head(hidden)
    with torch.no_grad():
        expected = network.embed(audio(), ["layer11"])["layer11"][:, 0]
        for name in ("0", "2") if hidden else ("0",):
            expected = expected.relu() @ head[f"{name}.weight"].T + head[f"{name}.bias"]
        assert (whole(audio()) - expected).abs().max() < 1e-4


def test_a_compiled_one_embeds_by_one_graph():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    network = made(n_classes=0).eval()
    plainly = network.embed(audio(), ["layer3"])["layer3"]
    network.compile_parts(backend="eager", fullgraph=True)
    torch.testing.assert_close(network.embed(audio(), ["layer3"])["layer3"], plainly)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()
