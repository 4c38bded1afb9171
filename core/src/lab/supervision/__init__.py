"""Watches a session from a process of its own, which starts it again where it was killed, froze or failed."""
