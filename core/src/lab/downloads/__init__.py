"""History of any provider, downloaded to a file that a backtest reads."""
