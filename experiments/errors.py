"""The error whose message is all that its reader needs."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what a command was given; the message names the value, the expectation and the remedy."""
