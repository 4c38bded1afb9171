"""Real recorded prices, and the readers for candles and ticks in CSV."""
