"""Moving-average crossover for lab."""
