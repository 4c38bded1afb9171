"""Says on the log what the session tells its journal beside decisions: feed, warm-up, halts, commands, gaps."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from lab.ports import Record

_log: Final = logging.getLogger("lab.live")
_KINDS: Final = frozenset({
    "notice", "trading_state", "symbol_state", "command", "gap", "strategy_stopped", "gate_failed", "entries_halted",
    "broker_failed", "equity_exhausted",
})  # fmt: skip


def tell(records: Sequence[Record]) -> None:
    """Log committed rows that are no decision, where the level ``INFO`` is on (``--verbose``)."""
    if records and _log.isEnabledFor(logging.INFO):
        for record in records:
            if record.kind in _KINDS:
                _log.info("%s", told(record.kind, record.data()))


def told(kind: str, body: Any) -> str:
    """Return a row in words: ``feed: state live``, ``trading halted: warm-up``, ``command stop by session: ...``."""
    match kind, body:
        case "notice", [_, topic, detail]:
            return f"{topic}: {_pairs(detail)}"
        case "symbol_state", [_, symbol, reasons]:
            return f"{symbol}: entries halted: {'; '.join(reasons)}" if reasons else f"{symbol}: entries allowed"
        case "trading_state", [_, reasons]:
            return f"trading halted: {'; '.join(reasons)}" if reasons else "trading open"
        case "command", [_, action, who, why]:
            return f"command {action} by {who}: {why}"
        case _, dict():
            return f"{kind}: {_pairs(body)}"
    return f"{kind}: {body}"


def _pairs(fields: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in fields.items() if value not in ("", None))
