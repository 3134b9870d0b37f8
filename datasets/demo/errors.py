"""The one kind of error that the demo corpus raises for what a user gave it."""

from __future__ import annotations


class DemoError(ValueError):
    """A size, soundfont or MIDI file that cannot be used, or a process that died; the message says what to do."""
