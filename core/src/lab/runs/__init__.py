"""Runs on disk: their directories, their locks, and the runs before this one."""
