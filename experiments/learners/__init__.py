"""LightningModules: what is trained against what."""
