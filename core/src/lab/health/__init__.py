"""Serves the health of a session on loopback, from a thread of its own that trading never waits for."""
