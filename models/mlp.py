"""A probe with one hidden layer, in plain torch: what MAEST's transfer learning trains on stored embeddings.

Linear, ReLU, dropout, linear (Alonso-Jimenez, Serra, Bogdanov, "Efficient supervised training of audio transformers for
music representation learning", arXiv 2309.16418, and its public code). PyTorch's default initial weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.network import Network


class MLP(Network):
    """Vectors to the outputs of a task.

    Args:
        n_in: Values of a vector.
        n_out: Outputs.
        hidden: Width of the hidden layer.
        dropout: Share of the hidden values that a training step drops.

    Raises:
        ValueError: A width below 1, or a share outside of 0 to 1.
    """

    derived = ("n_in", "n_out")
    head_prefixes = ("net.3.",)

    def __init__(self, n_in: int, n_out: int, hidden: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        if min(n_in, n_out, hidden) < 1:
            raise ValueError(f"n_in={n_in}, hidden={hidden}, n_out={n_out}: each must be at least 1")
        self.n_classes = n_out
        self.net = nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Vectors `[batch, n_in]` to outputs `[batch, n_out]`."""
        return self.net(x)
