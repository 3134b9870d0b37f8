"""Which patches the network reads under patchout, and where it takes them to be."""

from __future__ import annotations

import pytest
import torch

from models.maest import MAEST
from tests.models.maest.shapes import SMALL, build, tokens_seen


@pytest.mark.parametrize(
    ("name", "settings", "training", "evaluation"),
    [
        ("maest_5s", {"s_patchout_t": 15, "s_patchout_f": 3}, 92, 272),
        ("maest_10s", {"s_patchout_t": 30}, 281, 551),
        ("maest_10s", {"s_patchout_t": 30, "s_patchout_f": 3}, 188, 551),
        ("maest_20s", {"s_patchout_t": 60}, 578, 1118),
        ("maest_20s", {"s_patchout_t": 60, "s_patchout_f": 3}, 386, 1118),
        ("maest_30s", {"s_patchout_t": 90}, 866, 1676),
        ("maest_30s", {"s_patchout_t": 90, "s_patchout_f": 3}, 578, 1676),
        ("maest_30s", {"u_patchout": 200}, 1476, 1676),
        ("maest_30s", {"s_patchout_f_indices": [0, 1]}, 1304, 1304),
        ("maest_30s", {"s_patchout_f_interleaved": 2}, 932, 932),
        ("maest_30s", {"s_patchout_t_indices": [0, 5]}, 1658, 1658),
        ("maest_30s", {"s_patchout_t_interleaved": 2}, 839, 839),
        ("maest_30s", {"s_patchout_t_interleaved": 2, "s_patchout_t_indices": [0, 2], "s_patchout_t": 40}, 461, 821),
        ("maest_30s", {"s_patchout_f_interleaved": 2, "s_patchout_f": 2, "u_patchout": 58}, 502, 932),
    ],
)  # fmt: skip
def test_token_counts_with_patchout(name, settings, training, evaluation):
    network = build(name, dim=16, heads=2, depth=1, **settings)
    x = torch.zeros(2, network.n_frames, 96)
    assert tokens_seen(network.train(), x) == network.count_tokens(training=True) == training
    assert tokens_seen(network.eval(), x) == network.count_tokens() == evaluation


def test_f08_patchout_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="leaves no time column of 30"):
        build("maest_5s", dim=16, heads=2, depth=1, s_patchout_t=30)
    network = build("maest_30s", dim=16, heads=2, depth=1, s_patchout_t=90).train()
    with pytest.raises(ValueError, match=r"leaves no time column of 61 .*s_patchout_t=90.*longer input"):
        network(torch.zeros(1, 625, 96))


def test_dropped_patches_are_never_read(network):
    masked = MAEST(**SMALL, s_patchout_t_indices=[10], s_patchout_f_indices=[8]).eval()
    masked.load_state_dict(network.state_dict())
    x = torch.randn(2, 125, 96)
    broken = x.clone()
    # The last column of patches covers the frames 100 to 115, the one before it ends at 105; rows likewise.
    broken[:, 106:] = float("nan")
    broken[:, :, 86:] = float("nan")
    with torch.no_grad():
        assert torch.equal(masked(x), masked(broken))


def test_kept_patches_keep_their_positions(network):
    """Dropping rows and columns equals a manual gather from the whole embedding."""
    settings = {"s_patchout_f_indices": [2, 3], "s_patchout_t_interleaved": 3}
    masked = MAEST(**SMALL, **settings).eval()
    masked.load_state_dict(network.state_dict())
    x = torch.randn(2, 125, 96)
    with torch.no_grad():
        whole = network._tokenise(x)
        grid = whole[:, 2:].unflatten(1, network.grid)
        expected = grid[:, [0, 1, 4, 5, 6, 7, 8]][:, :, ::3].flatten(1, 2)
        torch.testing.assert_close(masked._tokenise(x), torch.cat([whole[:, :2], expected], dim=1))


@pytest.mark.parametrize("training", [True, False])
def test_masked_tokens_are_those_of_the_patches_that_are_kept(training):
    network = MAEST(**SMALL, s_patchout_f=2, u_patchout=30).train(training)
    layer, lengths = network.layer_names[-1], []
    network.blocks[0].register_forward_hook(lambda _, inputs, output: lengths.append(output.shape[1]))
    x = torch.randn(3, 125, 96)
    tokens = network.embed_masked(x, [layer], 0.9, torch.Generator().manual_seed(0))[layer]
    rows, columns = 9, 11
    assert lengths == [round(rows * columns * 0.1) + 2]
    kept = network.patchout.sample_each(rows, columns, 3, 0.9, torch.Generator().manual_seed(0))
    for number in range(3):
        alone = network._run(x[number : number + 1], [2], 3, kept._replace(tokens=kept.tokens[number]))[1][layer]
        torch.testing.assert_close(tokens[number], alone[0])


def test_nothing_masked_is_the_whole():
    network, x = MAEST(**SMALL).eval(), torch.randn(2, 125, 96)
    layer = network.layer_names[0]
    whole, masked = network.embed(x, [layer])[layer], network.embed_masked(x, [layer], 0.0)[layer]
    torch.testing.assert_close(masked, whole)
