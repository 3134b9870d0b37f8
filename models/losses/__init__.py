"""Losses that more than one network is trained with."""
