"""What goes wrong with weights."""

from __future__ import annotations


class CheckpointError(ValueError):
    """Weights that cannot be had, read or fitted; the message names the file or key, the expectation and the remedy."""


class ExportError(ValueError):
    """A network that cannot be written in a form for other programs; the message says what can."""


class InputError(ValueError):
    """An input, or a way to run, that a network does not take; the message says what it takes."""
