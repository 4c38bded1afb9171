"""Terminal view, events.jsonl and summary.html for lab."""

from typing import TYPE_CHECKING

from lab import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab import Reporter


@hookimpl
def lab_reporters() -> "Mapping[str, type[Reporter]]":
    """Offer ``terminal``, ``jsonl`` and ``html``."""
    from lab_reporters.jsonl import Jsonl
    from lab_reporters.summary import Html
    from lab_reporters.terminal import Terminal

    return {"terminal": Terminal, "jsonl": Jsonl, "html": Html}
