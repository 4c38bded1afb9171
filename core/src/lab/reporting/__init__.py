"""Runs reporters and gives them the committed rows, live and after a run."""
