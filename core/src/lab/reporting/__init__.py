"""Reporters at work: committed rows on their way to them, live and after a run."""
