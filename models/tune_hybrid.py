"""The hybrid of TUNe's paper: a U-Net that turns a window of audio into one channel as long, and a whole SampleCNN.

Vélez Vásquez and Burgoyne, "Tailed U-Net: multi-scale music representation learning", ISMIR 2022. The SampleCNN is that
of CLMR, trained along, or trained before and frozen, so that the U-Net learns what to show it.

How the U-Net is reduced to one channel is read off the published size, 2,548,155 parameters with a linear head of 50
classes. U-Net and SampleCNN have 567 more; as many fewer has a last block of one channel in place of ten. So it is a
block as all others, convolution, batch norm and ReLU, with nothing behind it. Whether the original has that ReLU, which
has no parameters, cannot be told from a number of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor

from models.arguments import Count, Positive, Rate
from models.clmr import CLMR
from models.clmr_shapes import SAMPLE_RATE, STRIDES
from models.errors import CheckpointError
from models.initial_weights import LoadReport, State
from models.samplecnn import CHANNELS
from models.unet import DOWN, SAMPLECNN, UNet

OF_SAMPLECNN = "layer1.conv.weight"  # in its state


class TUNeHybrid(UNet, name="tune_hybrid"):
    """Blocks `conv1` to `conv9` of a U-Net, `layer1` to `layer11` of CLMR's SampleCNN on what the last gives, a head.

    Weights to start from are those of a hybrid, or those of a SampleCNN alone, in any layout that `CLMR` knows; the
    U-Net then has random ones.

    Args:
        n_classes: Number of logits; 0 of an encoder alone.
        width: Channels of the first block.
        channels: Of each of the eleven layers of the SampleCNN.
        dropout: Rate before the head.
        hidden: Units of a hidden layer of the head; 0 for a linear head.
        freeze_samplecnn: Keep the layers of the SampleCNN as they are, the statistics of their batch norms too; U-Net
            and head are trained.

    Raises:
        ValueError: Other than eleven channels.
    """

    title = "TUNe's hybrid"
    starts_from = (CLMR.name,)
    head_prefixes = (f"{SAMPLECNN}dense.",)

    def __init__(
        self,
        *,
        n_classes: int = 50,
        width: Positive = 10,
        channels: Sequence[Positive] = CHANNELS,
        dropout: Rate = 0.5,
        hidden: Count = 0,
        freeze_samplecnn: bool = False,
    ) -> None:
        super().__init__()
        self.check({"channels": channels})
        self.n_classes, self.freeze_samplecnn = n_classes, freeze_samplecnn
        self.make_unet(width, DOWN, DOWN, last=1)
        self.of_unet = self.layer_names
        self.samplecnn = CLMR(n_classes=n_classes, channels=channels, dropout=dropout, hidden=hidden)
        self.layer_names = (*self.of_unet, *self.samplecnn.layer_names)
        if freeze_samplecnn:
            for name in self.samplecnn.layer_names:
                self.samplecnn.layer(name).requires_grad_(False)
        self.train()

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Eleven channels."""
        CLMR.check({"strides": STRIDES[SAMPLE_RATE], **arguments})

    @classmethod
    def is_published(cls, state: Mapping[str, Tensor]) -> bool:
        """Never: there are no published weights of it."""
        return False

    def fit_weights(
        self, source: Mapping[str, Tensor], name: str, *, absent: Sequence[str] = (), **rules: Any
    ) -> tuple[State, LoadReport]:
        """As of any network; the tensors of a SampleCNN alone are those of the inner one, which needs all of them."""
        try:
            published = CLMR.from_published(source)
        except CheckpointError as error:
            raise CheckpointError(f"{name}: {error}") from error
        state = source if published is None else published[1]
        if OF_SAMPLECNN in state:
            state = {SAMPLECNN + key: tensor for key, tensor in state.items()}
            absent = (*absent, *(f"{block}." for block in (*self.of_unet, *self.within)))
        return super().fit_weights(state, name, absent=absent, **rules)

    def train(self, mode: bool = True) -> Self:
        """Train, but for frozen layers, whose batch statistics stay as they are."""
        super().train(mode)
        if self.freeze_samplecnn:
            for name in self.samplecnn.layer_names:
                self.samplecnn.layer(name).eval()
        return self

    def run_layers(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """What blocks and layers give, `[batch, channels, cells]` by name; none behind the last of them is computed.

        Raises:
            ValueError: Another length than `window`.
        """
        of_samplecnn = [name for name in layers if name not in self.of_unet]
        if not of_samplecnn:
            return super().run_layers(x, layers)
        last = self.of_unet[-1]
        outputs = super().run_layers(x, [*(name for name in layers if name in self.of_unet), last])
        outputs |= self.samplecnn.run_layers(outputs[last][:, 0], of_samplecnn)
        return {name: outputs[name] for name in layers}

    def classify(self, cells: Tensor) -> Tensor:
        """The mean cell to logits."""
        return self.samplecnn.classify(cells)

    def parameter_layers(self) -> list[list[str]]:
        """Every block of the U-Net, every layer of the SampleCNN, the classifier; nothing comes before them."""
        of_unet = super().parameter_layers()[1 : 1 + len(self.of_unet)]
        of_samplecnn = [[SAMPLECNN + name for name in layer] for layer in self.samplecnn.parameter_layers()]
        return [[], *of_unet, *of_samplecnn[1:]]
