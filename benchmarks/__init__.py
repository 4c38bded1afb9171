"""What lab's speed is, measured on the shipped code. ``python -m benchmarks --help``."""
