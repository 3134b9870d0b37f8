"""Training: the trainer, its checkpoints and averages, and where it goes on."""
