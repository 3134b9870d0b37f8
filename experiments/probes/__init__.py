"""Small probes on stored embeddings: grids of them trained at once, chosen, evaluated and kept."""
