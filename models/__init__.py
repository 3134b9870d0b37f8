"""Front-ends and networks in plain torch; usable alone."""
