"""A trained network over a corpus or over audio files."""
