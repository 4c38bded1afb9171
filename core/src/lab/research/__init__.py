"""lab as a library: backtests, live sessions and their results, for scripts and notebooks."""
