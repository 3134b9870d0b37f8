"""Small classifiers on stored vectors: a whole grid of them trained at once, in plain torch."""
