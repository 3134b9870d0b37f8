"""Everything that knows Sacred, Lightning or MongoDB."""
