"""Which tracks an experiment has, how they are annotated, and what a corpus looks like."""
