"""Transfer learning: MAEST's probe on stored embeddings."""
