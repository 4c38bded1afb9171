"""Paper fills on real quotes for lab: latency, spread, slippage, fees."""
