"""The network against independent implementations with the same weights."""

from __future__ import annotations

import pytest
import torch

from models.maest import MAEST
from tests.models.maest.shapes import build, randomise
from tests.peers import peer


@pytest.fixture(scope="module")
def twins() -> tuple[MAEST, torch.nn.Module]:
    """Our network and the one of `maest-infer` with equal random weights, at full width and reduced depth."""
    torch.manual_seed(0)
    ours = randomise(MAEST(n_frames=625, time_positions=62, depth=3)).eval()
    theirs = (
        peer("maest_infer.model")
        .MAEST(img_size=(96, 625), stride=(10, 10), distilled=True, num_classes=400, depth=3)
        .eval()
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("frames", [626, 400, 16])
def test_equal_to_maest_infer(twins, frames):
    ours, theirs = twins
    x = torch.randn(2, frames, 96)
    image = x.transpose(1, 2)[:, None]
    with torch.inference_mode():
        made, tokens = ours.forward_and_embed(x, ours.layer_names)
        logits, features = theirs(image.clone(), melspectrogram_input=True)
        torch.testing.assert_close(made, logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours(x), logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.features(x), features, rtol=0, atol=1e-4)
        for block, layer in enumerate(ours.layer_names):
            _, expected = theirs(image.clone(), transformer_block=block, melspectrogram_input=True)
            torch.testing.assert_close(tokens[layer].flatten(1), expected, rtol=0, atol=1e-4)


def test_equal_to_maest_infer_at_full_depth():
    torch.manual_seed(0)
    ours = randomise(build("maest_10s", time_positions=62)).eval()
    theirs = (
        peer("maest_infer.model").MAEST(img_size=(96, 625), stride=(10, 10), distilled=True, num_classes=400).eval()
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(1, 625, 96)
    with torch.inference_mode():
        made, tokens = ours.forward_and_embed(x, [ours.default_layer])
        logits, features = theirs(x.transpose(1, 2)[:, None].clone(), melspectrogram_input=True)
        _, block_7 = theirs(x.transpose(1, 2)[:, None].clone(), transformer_block=6, melspectrogram_input=True)
        torch.testing.assert_close(ours.features(x), features, rtol=0, atol=1e-4)
    torch.testing.assert_close(made, logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(tokens[ours.default_layer].flatten(1), block_7, rtol=0, atol=1e-4)


def test_equal_to_hear21passt():
    torch.manual_seed(0)
    ours = randomise(build("passt_s", depth=3)).eval()
    theirs = (
        peer("hear21passt.models.passt")
        .PaSST(img_size=(128, 998), stride=(10, 10), distilled=True, num_classes=527, depth=3)
        .eval()
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    blocks: dict[int, torch.Tensor] = {}
    for index, block in enumerate(theirs.blocks):
        block.register_forward_hook(lambda _, inputs, output, index=index: blocks.__setitem__(index, output))
    x = torch.randn(1, 998, 128)
    with torch.inference_mode():
        made, tokens = ours.forward_and_embed(x, ours.layer_names)
        logits, features = theirs(x.transpose(1, 2)[:, None].clone())
        torch.testing.assert_close(made, logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.features(x), features, rtol=0, atol=1e-4)
        for index, block in blocks.items():
            expected = torch.stack([block[:, 0], block[:, 1], block[:, 2:].mean(dim=1)], dim=1)
            torch.testing.assert_close(tokens[ours.layer_names[index]], expected, rtol=0, atol=1e-4)
