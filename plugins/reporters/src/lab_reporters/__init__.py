"""Terminal view, events.jsonl and summary.html for lab."""

from collections.abc import Mapping

from lab import hookimpl


@hookimpl
def lab_reporters() -> Mapping[str, str]:
    """Offer ``terminal``, ``jsonl`` and ``html``."""
    return {
        "terminal": "lab_reporters.terminal:Terminal",
        "jsonl": "lab_reporters.jsonl:Jsonl",
        "html": "lab_reporters.summary:Html",
    }
