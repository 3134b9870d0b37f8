"""Small probes on stored embeddings: grids of them trained at once, chosen, judged and kept."""
