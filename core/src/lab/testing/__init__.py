"""What plugin authors test with: contract suites, the simulated event loop, builders."""
