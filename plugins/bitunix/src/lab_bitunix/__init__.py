"""Bitunix futures market data for lab, and a local venue that speaks the same protocol."""
