"""A seeded price path for lab: the same seed gives the same bytes."""
