"""Arrays on disk, corpora and their annotations, samplers, and the demo corpus; usable alone."""
