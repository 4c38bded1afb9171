"""Recorded candles, ticks and sessions, played to lab again."""
