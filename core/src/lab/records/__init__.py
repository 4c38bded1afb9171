"""The records of a run: its start, its state, its end, its header and its report."""
