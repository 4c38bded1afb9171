"""Terminal view, events.jsonl and summary.html for lab."""
