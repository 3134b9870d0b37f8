"""Trained networks and probes behind HTTP: a schema by OpenAPI, and a page to listen by."""
