"""From activations over time to beats, bars and tempo."""
