"""What a run records about itself: how it was started, what it came to, and what people are told of it."""
