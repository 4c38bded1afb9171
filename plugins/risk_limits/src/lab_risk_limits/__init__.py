"""Daily loss and margin limits for lab."""
