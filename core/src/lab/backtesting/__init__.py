"""Runs without a clock: backtests, replays, and the proof that a run gives the same bytes again."""
