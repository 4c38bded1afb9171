"""What a run counts. RunCounters count everything, whatever memory forgets."""

from decimal import Decimal

from attrs import define

from lab.domain.ledger import ZERO


@define
class RunCounters:
    """Counts of the whole run, and the extremes of its equity in the quote currency."""

    candles: int = 0
    backfilled: int = 0
    quotes: int = 0
    late_quotes: int = 0
    decisions: int = 0
    signals: int = 0
    orders: int = 0
    trades: int = 0
    round_trips: int = 0
    refusals: int = 0
    cancelled: int = 0
    expired: int = 0
    rejected: int = 0
    gaps: int = 0
    ignored_candles: int = 0
    fees_paid: Decimal = ZERO
    peak_equity: Decimal = ZERO
    max_drawdown: Decimal = ZERO
