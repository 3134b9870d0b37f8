"""The scores of many sweeps beside each other."""
