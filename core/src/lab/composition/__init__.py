"""From settings as text to a run put together, and back."""
