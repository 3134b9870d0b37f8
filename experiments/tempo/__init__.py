"""Tempo: what is said of a recording, and the evaluation beside what needs no network."""
