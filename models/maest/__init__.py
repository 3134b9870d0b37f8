"""MAEST and PaSST, transformers over log-mel spectrograms: the network, its published weights, how it is exported."""

from models.maest.network import MAEST, PATCH, grid_size

__all__ = ["MAEST", "PATCH", "grid_size"]
